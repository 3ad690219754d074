"""`composeret serve`: the service at an address of this machine."""

from collections.abc import Callable
import functools
import os
import socket

import uvicorn

from composeret_jax.serving.searcher import Searcher
from composeret_jax.serving.service.app import PageRoutes
from composeret_jax.serving.service.settings import Settings
from composeret_jax.serving.service.workers import serve_by_workers, Worker
from data_pipelines.input_error import InputError

GRACE_SECONDS = 10  # that answers in progress have when the server is ended


def serve(
  open_searcher: Callable[[], Searcher],
  settings: Settings,
  host: str,
  port: int,
  page_routes: PageRoutes | None = None,
  num_workers: int = 1,
) -> None:
  """Serves until it is interrupted; raises InputError when another program has the port, before the bundle is opened.

  What a single search needs is compiled before the address is printed, what batches need after that. With several
  processes, `open_searcher` and `page_routes` are sent to each. Answers in progress have GRACE_SECONDS at the end.
  """

  def announce(what: str) -> None:
    print(f"Page: {page_address(host, port, settings.url_prefix)}  ({what}; ends with Ctrl+C)", flush=True)

  worker = Worker(open_searcher, settings, page_routes)
  with listen(host, port) as listening:
    if num_workers > 1:
      announced = functools.partial(announce, f"{num_workers} processes")
      serve_by_workers(worker, num_workers, listening, announced, GRACE_SECONDS)
      return
    app = worker.app()
    announce(f"{len(app.state.live.searcher.index):,} images")
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE_SECONDS)
    uvicorn.Server(config).run(sockets=[listening])


def page_address(host: str, port: int, url_prefix: str) -> str:
  """As a browser takes it: an address of IPv6 in brackets."""
  return f"http://{f'[{host}]' if ':' in host else host}:{port}{url_prefix}/"


def listen(host: str, port: int) -> socket.socket:
  """A socket at this address; raises InputError when it cannot be had, which for a port in use says so."""
  try:
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048)
  except OSError as error:
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    raise InputError(
      f"cannot serve at --host={host} --port={port}: {reason}. Choose another --port, or end the program that has it"
    ) from error
