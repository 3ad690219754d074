"""`--mode=serve`: the page at an address of this machine."""

from collections.abc import Iterator
import json
import pathlib
import re
from typing import Any

import fastapi
from gradio.utils import get_upload_folder
import uvicorn

from composeret_jax.serving.page.blocks import build_blocks, CSS, gr, THEME
from composeret_jax.serving.page.uploads import MAX_BYTES
from composeret_jax.serving.searcher import Searcher

MAX_BODY = MAX_BYTES * 4 // 3 + 100_000  # an upload in base64, and what is around it


# Files that were uploaded or made, and other hosts' addresses: the page's pictures are in the page.
FILES = re.compile(r"/(gradio_api/)?(file[=/]|proxy=|stream/|custom_component/|deep_link)")


UPLOAD = re.compile(r"/(gradio_api/)?upload/?")  # its body is a form with files, every other one is JSON


class Guard:
  """ASGI middleware that refuses three kinds of requests.

  Requests for files; bodies of more than MAX_BODY bytes or without a Content-Length; and JSON bodies that name a file
  outside the folder of uploads. Gradio would copy such a file, and hand it to the page.
  """

  def __init__(self, app, uploads: str):
    """`uploads` is the folder in which Gradio keeps what people send."""
    self._app = app
    self._uploads = pathlib.Path(uploads).resolve()

  async def __call__(self, scope, receive, send) -> None:
    """Passes the request on, or answers it."""
    if scope["type"] != "http":
      await self._app(scope, receive, send)
      return
    refused = self._refused(scope)
    if refused is None and scope["method"] not in ("GET", "HEAD", "OPTIONS") and not UPLOAD.fullmatch(scope["path"]):
      body = await _read(receive)
      refused = self._refused_body(body)
      receive = _replayed(body, receive)
    if refused is None:
      await self._app(scope, receive, send)
      return
    status, message = refused
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": message.encode()})

  def _refused(self, scope) -> tuple[int, str] | None:
    if FILES.search(scope["path"]):
      return 403, "No files are served here."
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
      return None
    length = dict(scope["headers"]).get(b"content-length", b"")
    if not length.isdigit():
      return 411, "A request has to say its length."
    if int(length) > MAX_BODY:
      return 413, f"A request has at most {MAX_BODY:,} bytes."
    return None

  def _refused_body(self, body: bytes) -> tuple[int, str] | None:
    try:
      content = json.loads(body or b"null")
    except (ValueError, RecursionError):
      return 400, "The request is not JSON."
    if all(self._is_upload(path) for path in _paths(content)):
      return None
    return 403, "The request names a file that nobody uploaded."

  def _is_upload(self, path: Any) -> bool:
    """Whether a file's path, links followed, lies in the folder of uploads."""
    try:
      return isinstance(path, str) and self._uploads in pathlib.Path(path).resolve().parents
    except (OSError, ValueError, RuntimeError):  # too long, a zero byte, a loop of links
      return False


def _paths(content: Any) -> Iterator[Any]:
  """All that a JSON value has under the key `path`, which is where Gradio looks for files."""
  left = [content]
  while left:
    value = left.pop()
    if isinstance(value, dict):
      if "path" in value:
        yield value["path"]
      left.extend(value.values())
    elif isinstance(value, list):
      left.extend(value)


async def _read(receive) -> bytes:
  parts, more = [], True
  while more:
    message = await receive()
    parts.append(message.get("body", b""))
    more = message.get("more_body", False)
  return b"".join(parts)


def _replayed(body: bytes, receive):
  """An ASGI `receive` that gives the body again, and then what `receive` gives."""
  messages = [{"type": "http.request", "body": body, "more_body": False}]

  async def receive_again():
    return messages.pop() if messages else await receive()

  return receive_again


def build_app(searcher: Searcher) -> fastapi.FastAPI:
  """The page and its HTTP API, behind the guard."""
  app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
  blocks = build_blocks(searcher)
  options = {"theme": THEME, "css_paths": CSS, "footer_links": ["api"], "run_history": False, "ssr_mode": False}
  app = gr.mount_gradio_app(app, blocks, path="/", max_file_size=MAX_BYTES, show_error=False, **options)
  blocks.has_launched = True  # or Gradio reads any file that a request names: mount_gradio_app leaves it False
  app.add_middleware(Guard, uploads=get_upload_folder())
  return app


def serve(searcher: Searcher, host: str, port: int) -> None:
  """Serves until it is interrupted."""
  app = build_app(searcher)
  print(f"Page: http://{host}:{port}  ({len(searcher.index):,} images; ends with Ctrl+C)")
  uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=1)
