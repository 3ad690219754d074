"""What reaches the page at all: few addresses, bodies of bounded size, and calls that the page itself could make."""

import asyncio
from collections.abc import Callable
import json
import re
from typing import Any

from composeret_jax.serving.page.calls import Calls, check_search, parse_body, UnknownFile
from composeret_jax.serving.page.uploads import MAX_BYTES
from data_pipelines.input_error import InputError

MAX_BODY = MAX_BYTES * 4 // 3 + 100_000  # an upload in base64, and what is around it


MAX_JSON = 200_000  # of a call that sends no picture


MAX_BYTES_AT_ONCE = 100_000_000  # of bodies longer than MAX_JSON that are being read or answered


BODY_SECONDS = 30.0


# Gradio answers many more: files, other hosts' pages, recordings, run history, an editor of the page's code.
READ = re.compile(
  r"/|/config|/theme\.css|/favicon\.ico|/robots\.txt|/(assets|static)(/\w[\w.-]*)+"
  r"|/gradio_api/(info|queue/data|heartbeat/[\w-]{1,64}|call/search/[\w-]{1,64})",
  re.ASCII,
)


SEARCH, UPLOAD, EVENT = "/gradio_api/run/search", "/gradio_api/upload", "/gradio_api/run/predict"


QUEUED = "/gradio_api/queue/join"


CALL, NAMED = "/gradio_api/call/search", "/gradio_api/call/v2/search"  # Gradio's own, in a list and by name


WRITTEN = (SEARCH, CALL, NAMED, UPLOAD, EVENT, QUEUED)


class Refused(Exception):
  """A request is answered by this status and message."""

  def __init__(self, status: int, message: str):
    super().__init__(message)
    self.status = status


class Guard:
  """ASGI middleware that lets through what the page needs, and answers everything else with a 4xx or 503 and a reason.

  Bodies are read whole before anything is done with them: within BODY_SECONDS, at most MAX_BODY bytes each, and at most
  MAX_BYTES_AT_ONCE of long ones at a time.
  """

  def __init__(self, app: Callable, calls: Calls):
    self._app = app
    self._calls = calls
    self._num_bytes = 0  # of long bodies

  async def __call__(self, scope, receive, send) -> None:
    """Passes a request on, or answers it."""
    if scope["type"] == "lifespan":
      await self._app(scope, receive, send)
    elif scope["type"] != "http":
      await send({"type": "websocket.close", "code": 1008})
    else:
      try:
        await self._pass_on(scope, receive, send)
      except Refused as refused:
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": refused.status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps({"error": str(refused)}).encode()})

  async def _pass_on(self, scope, receive, send) -> None:
    path, reads = scope["path"], scope["method"] in ("GET", "HEAD")
    if not (READ.fullmatch(path) if reads else scope["method"] == "POST" and path in WRITTEN):
      raise Refused(404, "There is nothing at this address.")
    if path != "/gradio_api/queue/data":
      scope = scope | {"query_string": b""}  # the page's parts take no options; saved links would be read from files
    if reads:
      await self._app(scope, receive, send)
      return
    length = _length(scope)
    held = length if length > MAX_JSON else 0
    if self._num_bytes + held > MAX_BYTES_AT_ONCE:
      raise Refused(503, "Many pictures are being sent at the moment. Try again soon.")
    self._num_bytes += held
    try:
      body = await _read(receive, length)
      if path != UPLOAD:
        self._check(path, body)
      await self._app(scope, _replayed(body, receive), send)
    finally:
      self._num_bytes -= held

  def _check(self, path: str, body: bytes) -> None:
    try:
      content = parse_body(body)
      if path == EVENT:
        self._calls.check_event(content)
      elif path == QUEUED:
        self._calls.check_queued(content)
      else:
        check_search(content, by_name=path == NAMED)
    except UnknownFile as error:
      raise Refused(403, str(error)) from error
    except InputError as error:
      raise Refused(400, str(error)) from error


def _length(scope) -> int:
  length = dict(scope["headers"]).get(b"content-length", b"")
  if not length.isdigit():
    raise Refused(411, "A request has to say its length.")
  most = MAX_JSON if scope["path"] == EVENT else MAX_BODY
  if len(length) > 12 or int(length) > most:
    raise Refused(413, f"This request has at most {most:,} bytes.")
  return int(length)


async def _read(receive, length: int) -> bytes:
  parts: list[bytes] = []
  try:
    async with asyncio.timeout(BODY_SECONDS):
      while sum(map(len, parts)) < length:
        message = await receive()
        if message["type"] == "http.disconnect":
          break
        parts.append(message.get("body", b""))
  except TimeoutError:
    raise Refused(408, f"The request did not arrive within {BODY_SECONDS:g} seconds.") from None
  body = b"".join(parts)
  if len(body) != length:
    raise Refused(400, "The request is not whole.")
  return body


def _replayed(body: bytes, receive):
  """An ASGI `receive` that gives the body again, and then what `receive` gives."""
  messages: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

  async def receive_again():
    return messages.pop() if messages else await receive()

  return receive_again
