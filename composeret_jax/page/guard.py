"""What the page's server refuses before anything else looks at it."""

import re

from composeret_jax.page.uploads import MAX_BYTES

MAX_BODY = MAX_BYTES * 4 // 3 + 100_000  # an upload in base64, and what is around it

# Files that were uploaded or made, and other hosts' addresses: the page's pictures are in the page.
FILES = re.compile(r"/(gradio_api/)?(file[=/]|proxy=|stream/|custom_component/|deep_link)")


class Guard:
  """ASGI middleware: no files, no bodies of more than MAX_BODY bytes or of a length that is not said before."""

  def __init__(self, app):
    self._app = app

  async def __call__(self, scope, receive, send) -> None:
    """Passes the request on, or answers it."""
    refused = self._refused(scope) if scope["type"] == "http" else None
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
