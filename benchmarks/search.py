"""Latency of searches: in the process, and of the service under load, beside a plain FastAPI and FAISS service.

python -m benchmarks.search --bundle=bundles/icons --index=indexes/icons --text="replace left with right"

A known reference is an image of the index, an uploaded one is a made-up photograph of 500 x 375 pixels. Every query
has the text. Load is open: requests come at random moments at a fixed rate, and their time counts from the moment
when they were due. "At once" are as many people who ask at the same moment. Each service runs in processes of its own
on this machine, where the load comes from, too.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import functools
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

from absl import app, flags

from benchmarks.contenders import report
from benchmarks.open_loop import all_at_once, latencies, open_loop
from benchmarks.photographs import photograph
from composeret_jax.serving.bundle.bundle import BATCH_SIZES
from composeret_jax.serving.searcher import Searcher

_BUNDLE = flags.DEFINE_string("bundle", None, "The bundle's folder.", required=True)
_INDEX = flags.DEFINE_string("index", None, "The index.", required=True)
_TEXT = flags.DEFINE_string("text", "red", "What should be different.")
_NUM_QUERIES = flags.DEFINE_integer("num_queries", 100, "Queries in the process.", lower_bound=1)
_RATES = flags.DEFINE_multi_float("rate", [5.0, 10.0, 20.0], "Requests a second; may be repeated.", lower_bound=0.1)
_SECONDS = flags.DEFINE_float("seconds", 20.0, "Seconds of load at each rate.", lower_bound=1.0)
_AT_ONCE = flags.DEFINE_integer("at_once", 200, "People who ask at the same moment.", lower_bound=1)
_WORKERS = flags.DEFINE_multi_integer("workers", [1, 2], "Processes of the service; may be repeated.", lower_bound=1)
_K = flags.DEFINE_integer("k", 24, "Images found for each query.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

ROOT = pathlib.Path(__file__).parent.parent
Ask = Callable[[int], None]


def main(_) -> None:
  """Times the process, then each service under each load."""
  searcher = Searcher.open(_BUNDLE.value, _INDEX.value)
  ids = searcher.index.find("", 200)
  photographs = [photograph(seed, 500, 375) for seed in range(16)]
  rows = [
    alone("known reference", lambda i: searcher.search(ids[i % len(ids)], _TEXT.value, _K.value)),
    alone("uploaded image", lambda i: searcher.search(photographs[i % 16], _TEXT.value, _K.value)),
  ]
  known = [body(image=id) for id in ids]
  with served("benchmarks.plain_service") as (port, process):
    rows += under_load("FastAPI and FAISS", "known reference", asker(port, known), process)
  for workers in _WORKERS.value:
    with served("launch", "--mode=serve", f"--workers={workers}") as (port, process):
      wait_until_warm(port)
      where = f"service, {workers} process{'es' if workers > 1 else ''}"
      rows += under_load(where, "known reference", asker(port, known), process)
      sent = [body(upload=uploaded(port, photograph)) for photograph in photographs]
      rows += under_load(where, "uploaded image", asker(port, sent), process)
  title = f"{len(searcher.index):,} images, features of {searcher.bundle.feature_dim}, the {_K.value} best"
  report(title, rows, _OUTPUT.value)


def alone(reference: str, ask: Ask) -> dict:
  """Queries in this process, one after the other."""
  ask(0)
  seconds, start_cpu = [], time.process_time()
  for i in range(_NUM_QUERIES.value):
    start = time.perf_counter()
    ask(i)
    seconds.append(time.perf_counter() - start)
  used = 1000 * (time.process_time() - start_cpu) / _NUM_QUERIES.value
  return {"where": "Searcher", "reference": reference, "load": "one by one", **latencies(seconds), "CPU ms": used}


def under_load(where: str, reference: str, ask: Ask, process: subprocess.Popen) -> list[dict]:
  """Each rate, and all at once; after a few requests to warm up. "CPU ms" is what the server uses for a request."""
  for size in (1, 8, 32):
    all_at_once(ask, size)
  loads = {f"{rate:g} a second": functools.partial(open_loop, ask, rate, _SECONDS.value) for rate in _RATES.value}
  loads[f"{_AT_ONCE.value} at once"] = functools.partial(all_at_once, ask, _AT_ONCE.value)
  counts = [max(1, round(rate * _SECONDS.value)) for rate in _RATES.value] + [_AT_ONCE.value]
  rows = []
  for (load, run), count in zip(loads.items(), counts, strict=True):
    start = cpu_seconds(process.pid)
    found = run()
    used = 1000 * (cpu_seconds(process.pid) - start) / count
    rows.append({"where": where, "reference": reference, "load": load, **found, "CPU ms": used})
  return rows


def cpu_seconds(pid: int) -> float:
  """That a process and its children have used, on Linux."""
  fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
  children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
  return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK") + sum(cpu_seconds(int(child)) for child in children)


def body(**start: str) -> bytes:
  """A search from an `image` of the index or an `upload`."""
  return json.dumps({**start, "texts": [_TEXT.value], "limit": _K.value}).encode()


def uploaded(port: int, photograph: bytes) -> str:
  """The token of a photograph that is sent."""
  head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
  connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
  form = {"Content-Type": "multipart/form-data; boundary=b"}
  connection.request("POST", "/v1/uploads", head + photograph + b"\r\n--b--\r\n", form)
  return json.load(connection.getresponse())["upload"]


def asker(port: int, bodies: Sequence[bytes]) -> Ask:
  """Sends them in turn; raises RuntimeError for an answer that is not what was asked for."""

  def ask(i: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
      connection.request("POST", "/v1/search", bodies[i % len(bodies)], {"Content-Type": "application/json"})
      answer = connection.getresponse()
      found = json.load(answer)
    if answer.status != 200 or len(found["results"]) != _K.value:
      raise RuntimeError(f"the service answers {answer.status}: {str(found)[:300]}")

  return ask


@contextlib.contextmanager
def served(module: str, *arguments: str) -> Iterator[tuple[int, subprocess.Popen]]:
  """The port of a service that answers, and its process."""
  with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
  flags = [*arguments, f"--bundle={_BUNDLE.value}", f"--index={_INDEX.value}", f"--port={port}"]
  process = subprocess.Popen([sys.executable, "-m", module, *flags], cwd=ROOT, stdout=subprocess.DEVNULL)
  try:
    wait_until_served(process, port)
    yield port, process
  finally:
    os.kill(process.pid, signal.SIGTERM)
    process.wait()


def wait_until_served(process: subprocess.Popen, port: int) -> None:
  """Until any request is answered; raises RuntimeError when the service ends instead."""
  while process.poll() is None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
      connection.request("GET", "/v1/health")
      connection.getresponse().read()
      return
    time.sleep(0.2)
  raise RuntimeError(f"the service ended with {process.returncode}")


def wait_until_warm(port: int) -> None:
  """Until the service has compiled what its largest batches need."""
  while True:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    with contextlib.closing(connection):
      connection.request("GET", "/metrics")
      text = connection.getresponse().read().decode()
    if re.search(rf"^composeret_batch_size(\{{.*\}})? {BATCH_SIZES[-1]}\.0$", text, re.MULTILINE):
      return
    time.sleep(0.5)


if __name__ == "__main__":
  app.run(main)
