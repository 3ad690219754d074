"""`--mode=serve`: the service at an address of this machine."""

from collections.abc import Callable
import os
import socket

import uvicorn

from composeret_jax.serving.searcher import Searcher
from composeret_jax.serving.service.app import build_app, PageRoutes
from composeret_jax.serving.service.settings import Settings
from composeret_jax.serving.service.warm_up import keep_compiled, warm_up
from data_pipelines.input_error import InputError

GRACE_SECONDS = 10  # that answers in progress have when the server is ended


def serve(
  open_searcher: Callable[[], Searcher],
  settings: Settings,
  host: str,
  port: int,
  page_routes: PageRoutes | None = None,
) -> None:
  """Serves until it is interrupted; raises InputError when another program has the port, before the bundle is opened.

  What a single search needs is compiled before the address is printed, what batches need after that.
  """
  with listen(host, port) as listening:
    keep_compiled()
    searcher = open_searcher()
    warming = warm_up(searcher)
    next(warming)
    app = build_app(searcher, settings, page_routes, warming=warming)
    print(
      f"Page: http://{host}:{port}{settings.url_prefix}/  ({len(searcher.index):,} images; ends with Ctrl+C)",
      flush=True,
    )
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE_SECONDS)
    uvicorn.Server(config).run(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
  """A socket at this address; raises InputError when it cannot be had, which for a port in use says so."""
  try:
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048)
  except OSError as error:
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    raise InputError(
      f"cannot serve at --host={host} --port={port}: {reason}. Choose another --port, or end the program that has it"
    ) from error
