"""Latency and throughput of a search: in the process, and over the page's HTTP API.

python -m benchmarks.search --bundle=bundles/emoji --index=indexes/emoji --text="dark skin tone" --output=search.json

A known reference is an image of the index, an uploaded one is a made-up photograph of 500 x 375 pixels. Every query has
the text. Medians and 95th percentiles are of one query after the other; throughput is of --num_users who each ask again
as soon as they have their answer. The page runs in a process of its own on the same machine.
"""

from collections.abc import Callable, Iterator, Sequence
import concurrent.futures
import contextlib
import http.client
import json
import pathlib
import socket
import subprocess
import sys
import time

from absl import app, flags
import numpy as np

from benchmarks.contenders import report
from benchmarks.photographs import photograph
from composeret_jax.serving.searcher import Searcher

_BUNDLE = flags.DEFINE_string("bundle", None, "The bundle's folder.", required=True)
_INDEX = flags.DEFINE_string("index", None, "The index.", required=True)
_TEXT = flags.DEFINE_string("text", "red", "What should be different.")
_NUM_QUERIES = flags.DEFINE_integer("num_queries", 200, "Queries for each figure.", lower_bound=1)
_NUM_USERS = flags.DEFINE_integer("num_users", 16, "Users at once.", lower_bound=1)
_K = flags.DEFINE_integer("k", 24, "Images found for each query.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

ROOT = pathlib.Path(__file__).parent.parent
Ask = Callable[[int], None]


def main(_) -> None:
  """Times both ways to ask, for both kinds of reference."""
  searcher = Searcher.open(_BUNDLE.value, _INDEX.value)
  ids = searcher.index.find("", _NUM_QUERIES.value)
  photographs = [photograph(seed, 500, 375) for seed in range(16)]
  in_process = {"known reference": lambda i: searcher.search(ids[i % len(ids)], _TEXT.value, _K.value)}
  in_process["uploaded image"] = lambda i: searcher.search(photographs[i % 16], _TEXT.value, _K.value)
  rows = [figures("Searcher", kind, ask, num_users=1) for kind, ask in in_process.items()]
  with served_page() as port:
    bodies = {"known reference": [body(image=id) for id in ids]}
    bodies["uploaded image"] = [uploaded(port, photograph) for photograph in photographs]
    for kind, own in bodies.items():
      rows += [figures("page", kind, asker(port, own), num_users) for num_users in (1, _NUM_USERS.value)]
  title = f"{len(searcher.index):,} images, features of {searcher.bundle.feature_dim}, the {_K.value} best"
  report(title, rows, _OUTPUT.value)


def figures(where: str, reference: str, ask: Ask, num_users: int) -> dict:
  """Latencies in milliseconds as each user sees them, and queries a second of all of them; after a few to warm up."""
  with concurrent.futures.ThreadPoolExecutor(num_users) as users:
    list(users.map(ask, range(4 * num_users)))
    start = time.perf_counter()
    seconds = list(users.map(lambda i: timed(ask, i), range(_NUM_QUERIES.value)))
    rate = _NUM_QUERIES.value / (time.perf_counter() - start)
  median, high = np.percentile(seconds, (50, 95)) * 1000
  return {
    "where": where,
    "reference": reference,
    "users": num_users,
    "median ms": float(median),
    "95 % ms": float(high),
    "queries/s": rate,
  }


def timed(ask: Ask, i: int) -> float:
  """Seconds of query `i`."""
  start = time.perf_counter()
  ask(i)
  return time.perf_counter() - start


def body(**start: str) -> bytes:
  """A search from an `image` of the index or an `upload`."""
  return json.dumps({**start, "texts": [_TEXT.value], "limit": _K.value}).encode()


def uploaded(port: int, photograph: bytes) -> bytes:
  """A search from a photograph, which is sent first."""
  head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
  connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
  form = {"Content-Type": "multipart/form-data; boundary=b"}
  connection.request("POST", "/v1/uploads", head + photograph + b"\r\n--b--\r\n", form)
  return body(upload=json.load(connection.getresponse())["upload"])


def asker(port: int, bodies: Sequence[bytes]) -> Ask:
  """Sends them in turn; raises RuntimeError for an answer that is not what was asked for."""

  def ask(i: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/search", bodies[i % len(bodies)], {"Content-Type": "application/json"})
    answer = connection.getresponse()
    found = json.load(answer)
    connection.close()
    if answer.status != 200 or len(found["results"]) != _K.value:
      raise RuntimeError(f"the page answers {answer.status}: {str(found)[:300]}")

  return ask


@contextlib.contextmanager
def served_page() -> Iterator[int]:
  """The port of a page that answers."""
  with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
  flags = ["--mode=serve", f"--bundle={_BUNDLE.value}", f"--index={_INDEX.value}", f"--port={port}"]
  process = subprocess.Popen([sys.executable, ROOT / "launch.py", *flags])
  try:
    wait_until_served(process, port)
    yield port
  finally:
    process.terminate()
    process.wait()


def wait_until_served(process: subprocess.Popen, port: int) -> None:
  """Raises RuntimeError when the page ends instead."""
  while process.poll() is None:
    try:
      socket.create_connection(("127.0.0.1", port), timeout=1).close()
      return
    except OSError:
      time.sleep(0.2)
  raise RuntimeError(f"the page ended with {process.returncode}")


if __name__ == "__main__":
  app.run(main)
