"""`--mode=serve` as a program: its port, and its memory while many send much."""

import base64
import concurrent.futures
import contextlib
import io
import json
import pathlib
import resource
import socket
import statistics
import subprocess
import sys
import time

from PIL import Image
import pytest

from composeret_jax.serving.page.server import listen, serve
from data_pipelines.input_error import InputError
from tests.composeret_jax.serving.page.test_server import answer

ROOT = pathlib.Path(__file__).parents[4]

SERVE = """
import pathlib, sys, numpy as np
from composeret_jax.serving.index import create_index, open_index
from composeret_jax.serving.index.build import build
from composeret_jax.serving.index.sources import folder_images
from composeret_jax.serving.page.server import serve
from composeret_jax.serving.searcher import Searcher
from tests.fakes.fake_bundle import fake_bundle, write_images

folder, bundle = pathlib.Path(sys.argv[1]), fake_bundle()
write_images(folder / "images", 20)
index = create_index(folder / "index", bundle.fingerprint, bundle.feature_dim)
build(bundle, index, folder_images(folder / "images"))
index.close()
serve(lambda: Searcher(bundle, open_index(folder / "index")), "127.0.0.1", int(sys.argv[2]))
"""


class Server:
  """The page in a process of its own, as its users have it."""

  def __init__(self, folder):
    with socket.create_server(("127.0.0.1", 0)) as probe:
      port = probe.getsockname()[1]
    self.address = f"http://127.0.0.1:{port}"
    self.process = subprocess.Popen(
      [sys.executable, "-c", SERVE, folder, str(port)], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    self.search(seconds=120)

  def search(self, seconds=30):
    """How long an honest search takes; waits for the server to begin."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
      start = time.monotonic()
      with contextlib.suppress(OSError):
        status, content = answer(self.address, {"data": ["000.png", ["red"], "", 5, 0.0, 0.0]})
        assert (status, len(content["data"][0])) == (200, 5)
        return time.monotonic() - start
      time.sleep(0.2)
    raise AssertionError("the server does not answer")

  def memory(self):
    """Bytes that are resident."""
    return int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
  server = Server(tmp_path_factory.mktemp("served"))
  yield server
  server.process.kill()
  server.process.wait()


def black(width, height, mode="L"):
  """A small file with many pixels, as a search."""
  stream = io.BytesIO()
  Image.new(mode, (width, height)).save(stream, "PNG")
  image = base64.b64encode(stream.getvalue()).decode()
  return json.dumps({"data": ["", [], image, 5, 0.0, 0.0]}).encode()


def under_load(server, send, count):
  """The statuses of `count` requests at once, honest searches' median seconds beside them, and the most memory."""
  most, seconds = server.memory(), []
  with concurrent.futures.ThreadPoolExecutor(count) as threads:
    futures = [threads.submit(send, number) for number in range(count)]
    while not all(future.done() for future in futures) or len(seconds) < 5:
      seconds.append(server.search())
      most = max(most, server.memory())
  return [future.result() for future in futures], statistics.median(seconds), most


@pytest.mark.parametrize("side", [7000, 3500])
def test_forty_pixel_bombs_at_once(server, side):
  bomb = black(side, side)
  server.search()
  answer(server.address, black(100, 100))
  rest = server.memory()
  statuses, median, most = under_load(server, lambda _: answer(server.address, bomb)[0], 40)
  assert set(statuses) <= ({400} if side == 7000 else {200, 503})
  assert median < 1
  assert most < 1.5 * rest


def test_six_million_texts_and_500_sessions(server):
  server.search()
  rest = server.memory()
  texts = b'{"data":["000.png",[' + b'"a",' * 6_000_000 + b'"a"],"",5,0.0,0.0]}'
  statuses, median, most = under_load(server, lambda _: answer(server.address, texts)[0], 2)
  assert set(statuses) == {400}
  assert median < 1
  assert most < 1.5 * rest

  def begin(number):
    call = {"fn_index": 7, "data": [None, 24], "event_data": {"value": "001.png"}, "session_hash": f"s{number}"}
    return answer(server.address, call, "/gradio_api/run/predict")[0]

  with concurrent.futures.ThreadPoolExecutor(4) as threads:
    assert set(threads.map(begin, range(500))) == {200}
  assert server.memory() < 1.5 * rest


def test_a_port_in_use_is_one_error_before_the_bundle_is_opened(capsys):
  with listen("127.0.0.1", 0) as taken:
    port = taken.getsockname()[1]
    with pytest.raises(InputError, match=f"cannot serve at --host=127.0.0.1 --port={port}: Address already in use"):
      serve(lambda: pytest.fail("the bundle is opened"), "127.0.0.1", port)
  assert capsys.readouterr().out == ""
  with pytest.raises(InputError, match="--host=nowhere.invalid"):
    listen("nowhere.invalid", 7860)
