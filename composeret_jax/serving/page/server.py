"""`--mode=serve`: the page at an address of this machine."""

import asyncio
from collections.abc import AsyncIterator, Callable
import contextlib
import os
import socket

import fastapi
import uvicorn

from composeret_jax.serving.page.actions import Page
from composeret_jax.serving.page.api import add_api
from composeret_jax.serving.page.blocks import build_blocks, CSS, gr, THEME
from composeret_jax.serving.page.calls import Calls
from composeret_jax.serving.page.guard import Guard
from composeret_jax.serving.page.upload_folder import UploadFolder
from composeret_jax.serving.page.uploads import MAX_BYTES
from composeret_jax.serving.searcher import Searcher
from data_pipelines.input_error import InputError


def build_app(searcher: Searcher, uploads: UploadFolder | None = None) -> fastapi.FastAPI:
  """The page and its HTTP API, behind the guard."""
  uploads = uploads or UploadFolder()
  os.environ["GRADIO_TEMP_DIR"] = str(uploads.path)  # where Gradio looks for files, and copies them to

  @contextlib.asynccontextmanager
  async def sweeping(_: fastapi.FastAPI) -> AsyncIterator[None]:
    sweeper = asyncio.create_task(uploads.keep_swept())
    yield
    sweeper.cancel()

  app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=sweeping)
  page = Page(searcher)
  add_api(app, page, uploads)
  blocks = build_blocks(page)
  options = {"theme": THEME, "css_paths": CSS, "footer_links": ["api"], "run_history": False, "ssr_mode": False}
  app = gr.mount_gradio_app(app, blocks, path="/", max_file_size=MAX_BYTES, show_error=False, **options)
  blocks.has_launched = True  # or Gradio reads any file that a request names: mount_gradio_app leaves it False
  app.add_middleware(Guard, calls=Calls(blocks, uploads))
  return app


def serve(open_searcher: Callable[[], Searcher], host: str, port: int) -> None:
  """Serves until it is interrupted; raises InputError when another program has the port, before the bundle is opened.

  Who asks while it is opened waits for the answer.
  """
  with listen(host, port) as listening:
    searcher = open_searcher()
    app = build_app(searcher)
    print(f"Page: http://{host}:{port}  ({len(searcher.index):,} images; ends with Ctrl+C)")
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
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
