"""A request that is refused: the status and the reason that answer it."""

from collections.abc import Callable
import json

from data_pipelines.input_error import InputError

Headers = tuple[tuple[bytes, bytes], ...]


class Refused(InputError):
  """A request is answered by this status and message; `headers` go with it."""

  def __init__(self, status: int, message: str, headers: Headers = ()):
    super().__init__(message)
    self.status = status
    self.headers = headers


def busy(message: str) -> Refused:
  """503, to be asked again soon."""
  return Refused(503, f"{message} Try again soon.", ((b"retry-after", b"2"),))


async def send_refusal(send: Callable, refused: Refused) -> None:
  """The whole answer, by an ASGI `send`; the connection ends with it."""
  headers = [(b"content-type", b"application/json"), (b"connection", b"close"), *refused.headers]
  await send({"type": "http.response.start", "status": refused.status, "headers": headers})
  body = json.dumps({"error": str(refused), "field": None}).encode()
  await send({"type": "http.response.body", "body": body})
