"""Limits of answers: so many bytes of long ones in memory, and clients that read what they asked for."""

import asyncio
from collections.abc import Callable
from typing import Any

from composeret_jax.serving.service.limits.refused import busy, send_refusal

LONG = 64_000  # bytes from which an answer is counted
MAX_BYTES_AT_ONCE = 200_000_000  # of long answers that clients have not read yet
PART_BYTES = 256_000  # that a client has to read within PART_SECONDS; more of an answer is not given to the server
PART_SECONDS = 30.0


class Room:
  """Counts the bytes of long answers that are being sent."""

  def __init__(self) -> None:
    self._num_bytes = 0

  def take(self, num_bytes: int) -> bool:
    """Whether there is room for so many more, which then are counted."""
    fits = self._num_bytes + num_bytes <= MAX_BYTES_AT_ONCE
    self._num_bytes += num_bytes if fits else 0
    return fits

  def give_back(self, num_bytes: int) -> None:
    """These are sent."""
    self._num_bytes -= num_bytes


class Answer:
  """An ASGI `send` that sends in parts; an answer without room becomes 503, one that nobody reads is broken off.

  The server keeps what a client has not read, and has no limit of its own: thousands of clients that ask for pictures
  and read nothing would fill its memory.
  """

  def __init__(self, send: Callable, room: Room):
    self._send = send
    self._room = room
    self._num_held = 0
    self._start: Any = None  # waits for the first part of the body: until then the answer may be another
    self._is_over = False

  async def __call__(self, message: Any) -> None:
    """Sends a message of the app."""
    if self._is_over:
      return
    if message["type"] == "http.response.start":
      self._start = message
      return
    body = message.get("body", b"")
    if len(body) > LONG and not self._room.take(len(body)):
      self._is_over = True
      await send_refusal(self._send, busy("Many pictures are being shown at the moment."))
      return
    self._num_held += len(body) if len(body) > LONG else 0
    try:
      await self._send_parts(body, message.get("more_body", False))
    except TimeoutError:
      self._is_over = True  # the server ends the connection of an answer that is not whole

  async def _send_parts(self, body: bytes, goes_on: bool) -> None:
    for place in range(0, max(1, len(body)), PART_BYTES):
      end = place + PART_BYTES
      async with asyncio.timeout(PART_SECONDS):
        if self._start is not None:
          start, self._start = self._start, None
          await self._send(start)
        part = {"type": "http.response.body", "body": body[place:end], "more_body": goes_on or end < len(body)}
        await self._send(part)

  def end(self) -> None:
    """Gives the room back."""
    self._room.give_back(self._num_held)
