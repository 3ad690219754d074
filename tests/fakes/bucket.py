"""A bucket on this machine: gcp-storage-emulator, and what programs need of Google's service that it lacks.

That is writing, reading and deleting on the condition of a generation, the header that says a generation, and lists
between two names.
"""

from collections.abc import Iterator
import contextlib
import http
import json
import os
import socket
import subprocess
import sys

from gcp_storage_emulator import exceptions, server, storage

NAME = "bucket"


def _generation(storage, bucket, name) -> str:
  """Of an object; "0" where there is none, as in conditions."""
  try:
    return storage.get_file_obj(bucket, name)["generation"]
  except exceptions.NotFound:
    return "0"


def _is_refused(request, storage, bucket, name) -> bool:
  wanted, unwanted = (request.query.get(field, [None])[0] for field in ("ifGenerationMatch", "ifGenerationNotMatch"))
  if wanted is None and unwanted is None:
    return False
  now = _generation(storage, bucket, name)
  if request.method == "GET" and now == "0":
    return False  # which is 404
  return wanted not in (None, now) or unwanted == now


def _as_googles(handler):
  """The handler of a request, which keeps the conditions in it."""

  def handle(request, response, storage):
    bucket, query = request.params.get("bucket_name"), request.query
    name = request.params.get("object_id") or query.get("name", [None])[0]
    if _is_refused(request, storage, bucket, name):
      _ = request.data  # the client sends it before it reads the answer
      is_read = request.method == "GET"
      response.status = http.HTTPStatus.NOT_MODIFIED if is_read else http.HTTPStatus.PRECONDITION_FAILED
      return
    handler(request, response, storage)
    if request.method == "GET" and name and response.status < 300:
      response["x-goog-generation"] = _generation(storage, bucket, name)
    if "startOffset" in query or "endOffset" in query:
      first, end = query.get("startOffset", [""])[0], query.get("endOffset", ["\U0010ffff"])[0]
      found = json.loads(response._content)
      response.json(found | {"items": [item for item in found["items"] if first <= item["name"] < end]})

  return handle


def serve() -> None:
  """Serves an empty bucket until its standard input ends; prints the port."""
  server.HANDLERS = tuple(
    (pattern, {method: _as_googles(handler) for method, handler in handlers.items()})
    for pattern, handlers in server.HANDLERS
  )
  storage.Storage._write_config_to_file = lambda self: None  # all of it again at each request, for a disk
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    port = probe.getsockname()[1]
  emulator = server.create_server("localhost", port, in_memory=True, default_bucket=NAME)
  emulator.start()
  print(port, flush=True)
  sys.stdin.read()
  emulator.stop()


@contextlib.contextmanager
def served() -> Iterator[str]:
  """Serves a bucket to this process and to those that it starts; yields its address."""
  command = [sys.executable, "-m", "tests.fakes.bucket"]
  with subprocess.Popen(
    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
  ) as process:
    where = f"http://localhost:{process.stdout.readline().strip()}"
    os.environ |= {
      "STORAGE_EMULATOR_HOST": where,
      "TENSORSTORE_GCS_HTTP_URL": where,
      "GOOGLE_AUTH_TOKEN_FOR_TESTING": "any",
    }
    yield f"gs://{NAME}"
    process.stdin.close()


if __name__ == "__main__":
  serve()
