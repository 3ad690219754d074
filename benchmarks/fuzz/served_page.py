"""The page's server, and whether it stands what is sent to it: __main__.py's second half."""

from collections.abc import Callable, Iterator, Sequence
import concurrent.futures
import contextlib
import json
import pathlib
import random
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time

from benchmarks.fuzz.hostile_requests import KINDS, odd_search, post, SEARCH, search_body
from composeret_jax.serving.bundle.layout import read_info

ROOT = pathlib.Path(__file__).parents[2]
SECONDS = 60  # for a good answer
IMPATIENCE = 3  # seconds, for a bad one
LONGEST_ERROR = 2_000  # bytes
WARM = 300  # requests, after which the server's memory is compared
# A traceback that ends in a file of ours.
OUR_ERROR = re.compile(r'  File "[^"]*composeret_jax/[^"]*", line .*\n(?:    .*\n)*\w[\w.]*(?:Error|Exception)\b')
MEGABYTES = 400  # that it may grow by from there


class Server:
  """`--mode=serve` in a process of its own, at an address of this machine."""

  def __init__(self, bundle: pathlib.Path, index: pathlib.Path):
    with socket.create_server(("127.0.0.1", 0)) as probe:
      self.port = probe.getsockname()[1]
    arguments = ["--mode=serve", f"--bundle={bundle}", f"--index={index}", f"--port={self.port}"]
    self.log = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the server)
    self.process = subprocess.Popen([sys.executable, ROOT / "launch.py", *arguments], stdout=self.log, stderr=self.log)
    self.secrets = [
      str(ROOT),
      str(bundle),
      str(index),
      sys.prefix,
      "site-packages",
      "Traceback",
      f"{pathlib.Path.home()}/",
    ]
    self.secrets += ["uvicorn/", "pydantic.dev", f"Python/{sys.version_info[0]}", "root:x:0"]

  def ask(self, request: bytes, seconds: float = SECONDS) -> bytes:
    """The whole answer; what came until then where it does not end."""
    parts = []
    with (
      contextlib.suppress(OSError),
      socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection,
    ):
      connection.settimeout(seconds)
      with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(request)
      parts.extend(iter(lambda: connection.recv(65_536), b""))
    return b"".join(parts)

  def wait(self) -> None:
    """Until it answers."""
    while not self.ask(b"GET /v1/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"):
      if self.process.poll() is not None:
        raise RuntimeError(self.words())
      time.sleep(0.5)

  def memory(self) -> int:
    """Bytes that are resident."""
    return int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()

  def words(self) -> str:
    """The server's output so far."""
    self.log.seek(0)
    return self.log.read().decode(errors="replace")

  def close(self) -> None:
    """Ends the process."""
    self.process.kill()
    self.process.wait()


def found_in(answer: bytes, secrets: Sequence[str]) -> str:
  """The fault of an answer; empty when it has none."""
  head, _, body = answer.partition(b"\r\n\r\n")
  status = re.match(rb"HTTP/1.1 (\d+)", head)
  if answer and not status:
    return "FINDING: no answer of HTTP"
  leaked = [secret for secret in secrets if secret.encode() in answer]
  if leaked:
    return f"FINDING: it says {leaked[0]}"
  if status and int(status[1]) >= 400 and len(body) > LONGEST_ERROR:
    return f"FINDING: an error of {len(body):,} bytes"
  if status and int(status[1]) == 500:
    return "FINDING: an unforeseen error, where a mistake has to be 4xx"
  return ""


def try_page(
  bundle: pathlib.Path, index: pathlib.Path, id: str, seed: int, go_on: Callable[[int], bool]
) -> Iterator[Sequence[str]]:
  """(kind of request, what became of it) while `go_on(number)`; request by request a function of the seed."""
  server = Server(bundle, index)
  kinds = {**KINDS, "searches": lambda rng: odd_search(rng, id)}
  known_text = read_info(bundle)[0]["example_texts"][0]  # a text without a known word is refused
  good = post(SEARCH, search_body(image=id, texts=[known_text], limit=5))
  try:
    server.wait()
    expected = _ids(server.ask(good))
    assert len(expected) == 5, server.words()[-2000:]
    number, first_memory = 0, server.memory()
    while go_on(number):
      rng = random.Random(f"{seed} page {number}")
      kind = rng.choice(sorted(kinds))
      answer = server.ask(kinds[kind](rng), IMPATIENCE)
      outcome = found_in(answer, server.secrets) or (answer[9:12].decode(errors="replace") or "no answer")
      yield f"page, {kind}", outcome
      first_memory = first_memory if number > WARM else server.memory()
      yield "page, a good search after it", _good(server, good, expected, 16 if number % 50 == 0 else 1)
      number += 1
    time.sleep(IMPATIENCE)  # what was given up on is still being answered
    grown = (min(server.memory() for _ in range(20) if not time.sleep(0.5)) - first_memory) / 1e6
    yield f"page, memory after the first {WARM}", f"{'FINDING: ' if grown > MEGABYTES else ''}{grown:+.0f} MB"
    ours = len(OUR_ERROR.findall(server.words()))
    yield "page, unforeseen errors in our code", f"FINDING: {ours} in its log" if ours else "none"
  finally:
    server.close()


def _good(server: Server, request: bytes, expected: list, at_once: int) -> str:
  """Whether it answers as before, `at_once` of the same at the same time."""
  if server.process.poll() is not None:
    raise RuntimeError(f"the server has ended: {server.words()[-2000:]}")
  with concurrent.futures.ThreadPoolExecutor(at_once) as threads:
    answers = list(threads.map(server.ask, [request] * at_once))
  wrong = [answer for answer in answers if _ids(answer) != expected]
  return f"FINDING: {wrong[0][:200]!r}" if wrong else "answered"


def _ids(answer: bytes) -> list[str]:
  try:
    return [row["id"] for row in json.loads(answer.partition(b"\r\n\r\n")[2])["results"]]
  except (ValueError, KeyError, TypeError):
    return []
