"""What clients do not read of long answers."""

import asyncio
import http.client

import pytest

from composeret_jax.serving.service.limits import answers
from composeret_jax.serving.service.limits.guard import Guard
from tests.fakes.served import served

PICTURE = bytes(range(256)) * 400  # longer than LONG
SCOPE = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}


async def shows_a_picture(scope, receive, send):
  await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(PICTURE))]})
  await send({"type": "http.response.body", "body": PICTURE})


@pytest.fixture
def guard(monkeypatch):
  monkeypatch.setattr(answers, "PART_BYTES", 30_000)
  monkeypatch.setattr(answers, "PART_SECONDS", 0.2)
  monkeypatch.setattr(answers, "MAX_BYTES_AT_ONCE", 2 * len(PICTURE))
  return Guard(shows_a_picture, lambda scope: None, max_waiting=10)


def asked(guard, num_taken):
  """A request whose client takes so many parts of the answer, and the messages that it took."""
  taken, parts = [], []

  async def send(message):
    if len(parts) == num_taken:
      await asyncio.Event().wait()
    taken.append(message)
    if message["type"] == "http.response.body":
      parts.append(message["body"])

  return asyncio.create_task(guard(SCOPE, None, send)), taken


def test_a_long_answer_comes_whole_in_its_parts(guard):
  async def ask():
    request, taken = asked(guard, -1)
    await request
    return taken

  start, *parts = asyncio.run(ask())
  assert start["status"] == 200
  assert b"".join(part["body"] for part in parts) == PICTURE
  assert [part["more_body"] for part in parts] == [True, True, True, False]
  with served(guard) as address:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
    for _ in range(2):  # the second one by the same connection
      connection.request("GET", "/")
      assert connection.getresponse().read() == PICTURE
    connection.close()


def test_answers_that_nobody_reads_take_little_memory_and_end(guard):
  async def ask():
    stalled = [asked(guard, num)[0] for num in (0, 2)]
    await asyncio.sleep(0.05)
    request, refused = asked(guard, -1)
    await request
    await asyncio.wait_for(asyncio.gather(*stalled), 10)
    request, taken = asked(guard, -1)
    await request
    return refused, taken

  refused, taken = asyncio.run(ask())
  assert [message.get("status") for message in refused] == [503, None]
  assert b"Many pictures are being shown at the moment." in refused[1]["body"]
  assert taken[0]["status"] == 200 and len(taken) == 5
