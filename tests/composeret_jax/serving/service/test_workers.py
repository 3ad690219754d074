"""Several processes at one port."""

import concurrent.futures
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from composeret_jax.serving.index import open_index
from composeret_jax.serving.searcher import Searcher
from composeret_jax.serving.service import workers
from tests.fakes.fake_bundle import fake_bundle, write_images
from tests.fakes.served import ask, encoded_image, upload
from tests.fakes.tiny_index import fill

ROOT = pathlib.Path(__file__).parents[4]

SERVE = """
import functools, sys, time
from composeret_jax.serving.index import open_index
from composeret_jax.serving.searcher import Searcher
from composeret_jax.serving.service.server import serve
from composeret_jax.serving.service.settings import Settings
from tests.fakes.fake_bundle import fake_bundle

def open_searcher(folder):
  bundle = fake_bundle()
  text_only = bundle.text_only_with_norms
  bundle.text_only_with_norms = lambda texts: (time.sleep("red red red" in texts), text_only(texts))[1]
  return Searcher(bundle, open_index(folder))

if __name__ == "__main__":
  serve(functools.partial(open_searcher, sys.argv[1]), Settings(), "127.0.0.1", int(sys.argv[2]), None, 2)
"""


@contextlib.contextmanager
def two_processes(folder, index):
  """The address of a server of two processes, and its first process; `index` need not be there."""
  (folder / "program.py").write_text(SERVE)
  with socket.create_server(("127.0.0.1", 0)) as probe:
    port = probe.getsockname()[1]
  environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
  arguments = [sys.executable, folder / "program.py", index, str(port)]
  process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
  try:
    yield f"http://127.0.0.1:{port}", process
  finally:
    process.terminate()
    process.communicate(timeout=60)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
  folder = tmp_path_factory.mktemp("shared")
  write_images(folder / "images", 20)
  fill(folder / "images", folder / "index")
  return folder / "index"


def test_two_processes_share_everything_and_end_when_answers_are_sent(tmp_path, index):
  with two_processes(tmp_path, index) as (address, process):
    assert process.stdout.readline() == f"Page: {address}/  (2 processes; ends with Ctrl+C)\n"
    _, sent = upload(address, encoded_image(seed=3))
    request = {"upload": sent["upload"], "texts": ["red"], "limit": 5}
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
      answers = list(threads.map(lambda _: ask(address, "/v1/search", request), range(60)))
    assert {status for status, _, _ in answers} == {200}
    assert len({tuple(result["id"] for result in content["results"]) for _, _, content in answers}) == 1
    counted = ask(address, "/metrics")[2].decode()
    assert 'composeret_requests_total{method="POST",route="/v1/search",status="200"} 60.0' in counted
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
      slow = threads.submit(ask, address, "/v1/compose", {"texts": ["red red red"]})
      time.sleep(0.4)
      process.send_signal(signal.SIGTERM)
      assert slow.result()[0] == 200
    assert process.wait(30) == 0
    with pytest.raises(OSError):
      ask(address, "/v1/health")


def test_a_process_that_cannot_start_ends_the_server_with_its_reason(tmp_path):
  with two_processes(tmp_path, tmp_path / "nowhere") as (_, process):
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert "is no index" in errors


def test_of_a_large_index_is_said_what_makes_it_faster(monkeypatch, index, capsys):
  searcher = Searcher(fake_bundle(), open_index(index))
  workers.warn_of_size(searcher)
  assert capsys.readouterr().err == ""
  monkeypatch.setattr(workers, "LARGE_BYTES", 100)
  workers.warn_of_size(searcher)
  assert "Each search reads all 0.0 GB of features. --mode=index --quantise" in capsys.readouterr().err
