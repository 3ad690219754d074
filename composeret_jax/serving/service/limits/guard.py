"""Limits of requests: bodies of bounded size that arrive in time, and so many requests and bytes at once."""

import asyncio
from collections.abc import Callable
from typing import Any

from composeret_jax.serving.service.limits.answers import Answer, Room
from composeret_jax.serving.service.limits.refused import busy, Refused, send_refusal
from composeret_jax.serving.service.limits.uploads import MAX_BYTES

MAX_BODY = MAX_BYTES + 100_000  # an upload, and what is around it
MAX_JSON = 64_000
MAX_VALUES = 2_000  # in one JSON body
MAX_QUERY = 8_000  # bytes of an address after its ?
MAX_BYTES_AT_ONCE = 100_000_000  # of bodies longer than MAX_JSON that are being read or answered
BODY_SECONDS = 30.0
UPLOADS = "/v1/uploads"

HEADERS = (
  (b"x-content-type-options", b"nosniff"),
  (b"referrer-policy", b"same-origin"),
  (b"x-frame-options", b"DENY"),
)
NOTHING_RUNS = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class Guard:
  """ASGI middleware that bounds what a request can make the server do, before it is parsed.

  Bodies are read whole first: within BODY_SECONDS, at most MAX_JSON bytes each, of an upload MAX_BODY, and at most
  MAX_BYTES_AT_ONCE of long ones at a time. `admit` gets each request's scope, and raises Refused for whom it keeps out.
  """

  def __init__(self, app: Callable, admit: Callable[[Any], None], max_waiting: int):
    self._app = app
    self._admit = admit
    self._max_waiting = max_waiting
    self._num_waiting = 0
    self._num_bytes = 0  # of long bodies
    self._room = Room()

  async def __call__(self, scope, receive, send) -> None:
    """Passes a request on, or answers it."""
    if scope["type"] == "lifespan":
      await self._app(scope, receive, send)
    elif scope["type"] != "http":
      await send({"type": "websocket.close", "code": 1008})
    else:
      self._num_waiting += 1
      answer = Answer(with_headers(send), self._room)
      try:
        await self._pass_on(scope, receive, answer)
      except Refused as refused:
        await send_refusal(with_headers(send), refused)
      finally:
        answer.end()
        self._num_waiting -= 1

  async def _pass_on(self, scope, receive, send) -> None:
    if self._num_waiting > self._max_waiting:
      raise busy("Too many people are searching at the moment.")
    if len(scope["query_string"]) > MAX_QUERY:
      raise Refused(414, f"This address has more than {MAX_QUERY:,} bytes after its ?.")
    self._admit(scope)
    if scope["method"] in ("GET", "HEAD"):
      await self._app(scope, receive, send)
      return
    is_upload = scope["path"] in (UPLOADS, f"{scope.get('root_path', '')}{UPLOADS}")
    length = _length(scope, MAX_BODY if is_upload else MAX_JSON)
    held = length if length > MAX_JSON else 0
    if self._num_bytes + held > MAX_BYTES_AT_ONCE:
      raise busy("Many pictures are being sent at the moment.")
    self._num_bytes += held
    try:
      body = await _read(receive, length)
      # Counted by their separators: parsing millions of values takes gigabytes.
      if not is_upload and sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise Refused(400, f"The request has more than {MAX_VALUES:,} values.")
      await self._app(scope, _replayed(body, receive), send)
    finally:
      self._num_bytes -= held


def with_headers(send: Callable) -> Callable:
  """An ASGI `send` that adds what browsers have to be told, unless the answer says so itself."""

  async def send_with_headers(message):
    if message["type"] == "http.response.start":
      there = {name.lower() for name, _ in message["headers"]}
      added = [(name, value) for name, value in (*HEADERS, NOTHING_RUNS) if name not in there]
      message = message | {"headers": [*message["headers"], *added]}
    await send(message)

  return send_with_headers


def _length(scope, most: int) -> int:
  headers = dict(scope["headers"])
  length = headers.get(b"content-length", b"" if b"transfer-encoding" in headers else b"0")
  if not length.isdigit():
    raise Refused(411, "A request has to say its length.")
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
