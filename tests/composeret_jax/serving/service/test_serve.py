"""`--mode=serve` as a program: its port, and its memory while many send much."""

import concurrent.futures
import contextlib
import io
import pathlib
import resource
import socket
import statistics
import struct
import subprocess
import sys
import time
import zlib

from PIL import Image
import pytest

from composeret_jax.serving.service.server import listen, page_address, serve
from composeret_jax.serving.service.settings import Settings
from data_pipelines.input_error import InputError
from tests.fakes.served import ask, upload

ROOT = pathlib.Path(__file__).parents[4]

SERVE = """
import pathlib, sys
from composeret_jax.serving.index import open_index
from composeret_jax.serving.searcher import Searcher
from composeret_jax.serving.service.server import serve
from composeret_jax.serving.service.settings import Settings
from tests.fakes.fake_bundle import fake_bundle, write_images
from tests.fakes.tiny_index import fill

folder = pathlib.Path(sys.argv[1])
write_images(folder / "images", 20)
fill(folder / "images", folder / "index")
serve(lambda: Searcher(fake_bundle(), open_index(folder / "index")), Settings(), "127.0.0.1", int(sys.argv[2]))
"""


class Server:
  """The service in a process of its own, as its users have it."""

  def __init__(self, folder):
    with socket.create_server(("127.0.0.1", 0)) as probe:
      self.port = probe.getsockname()[1]
    self.address = f"http://127.0.0.1:{self.port}"
    arguments = [sys.executable, "-c", SERVE, folder, str(self.port)]
    self.process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    self.line = self.process.stdout.readline()
    self.search()

  def search(self):
    """How long an honest search takes."""
    start = time.monotonic()
    status, _, content = ask(self.address, "/v1/search", {"image": "000.png", "texts": ["red"], "limit": 5})
    assert (status, len(content["results"])) == (200, 5)
    return time.monotonic() - start

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
  """A small file with many pixels."""
  stream = io.BytesIO()
  Image.new(mode, (width, height)).save(stream, "PNG")
  return stream.getvalue()


def under_load(server, send, count):
  """The statuses of `count` requests at once, honest searches' median seconds beside them, and the most memory."""
  most, seconds = server.memory(), []
  with concurrent.futures.ThreadPoolExecutor(count) as threads:
    futures = [threads.submit(send, number) for number in range(count)]
    while not all(future.done() for future in futures) or len(seconds) < 5:
      seconds.append(server.search())
      most = max(most, server.memory())
  return [future.result() for future in futures], statistics.median(seconds), most


def test_the_address_is_printed_when_searches_wait_for_nothing(server):
  assert server.line == f"Page: {server.address}/  (20 images; ends with Ctrl+C)\n"


@pytest.mark.parametrize("side", [7000, 3500])
def test_forty_pixel_bombs_at_once(server, side):
  bomb = black(side, side)
  server.search()
  upload(server.address, black(100, 100))
  rest = server.memory()
  statuses, median, most = under_load(server, lambda _: upload(server.address, bomb)[0], 40)
  assert set(statuses) <= ({400} if side == 7000 else {200, 503})
  assert median < 1
  assert most < rest + 200e6  # two pictures of 12.25 million pixels


def chunk(kind, data):
  return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(kind, times, num_bytes):
  """A PNG of 10 x 10 pixels with chunks that unfold to `num_bytes` each."""
  pixels = black(10, 10)
  head = pixels[:33]  # the signature and IHDR
  return head + b"".join(chunk(kind, b"x\0\0" + zlib.compress(bytes(num_bytes))) for _ in range(times)) + pixels[33:]


def frames(format):
  """A small file of 30 frames of a million pixels."""
  stream = io.BytesIO()
  first, *others = (Image.new("P", (1000, 1000), number) for number in range(30))
  first.save(stream, format, save_all=True, append_images=others)
  return stream.getvalue()


@pytest.mark.parametrize(
  "bomb",
  [
    pytest.param(lambda: with_chunk(b"iCCP", 1, 100_000_000), id="profile"),
    pytest.param(lambda: with_chunk(b"zTXt", 1, 100_000_000), id="text"),
    pytest.param(lambda: with_chunk(b"zTXt", 60, 1_000_000), id="texts"),
    pytest.param(lambda: frames("GIF"), id="frames"),
    pytest.param(lambda: frames("PNG"), id="frames of a PNG"),
  ],
)
def test_pictures_that_unfold_to_more_than_they_show(server, bomb):
  content = bomb()
  upload(server.address, black(100, 100))
  rest = server.memory()
  statuses, median, most = under_load(server, lambda _: upload(server.address, content)[0], 6)
  assert set(statuses) <= {200, 400, 503}
  assert median < 1
  assert most < rest + 200e6


def test_many_who_send_nothing_more_keep_nobody_waiting(server):
  rest = server.memory()
  with contextlib.ExitStack() as open_ones:
    for number in range(300):
      connection = open_ones.enter_context(socket.create_connection(("127.0.0.1", server.port)))
      head = b"POST /v1/uploads HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\nx"
      connection.sendall(head if number % 2 else b"GET / HT")
    assert statistics.median(server.search() for _ in range(5)) < 1
    assert server.memory() < rest + 50e6


def test_six_million_texts_and_500_clients(server):
  server.search()
  rest = server.memory()
  texts = b'{"image":"000.png","texts":[' + b'"a",' * 6_000_000 + b'"a"]}'

  def send(_):
    try:
      return ask(server.address, "/v1/search", texts)[0]
    except OSError:  # the server answers and ends the connection before all is sent
      return 413

  statuses, median, most = under_load(server, send, 2)
  assert set(statuses) == {413}
  assert median < 1
  assert most < 1.5 * rest

  def begin(number):
    return ask(server.address, "/v1/search", {"image": f"00{number % 5 * 2}.png", "texts": ["red"]})[0]

  with concurrent.futures.ThreadPoolExecutor(50) as threads:
    assert set(threads.map(begin, range(500))) == {200}
  assert server.memory() < 1.5 * rest


def test_a_port_in_use_is_one_error_before_the_bundle_is_opened(capsys):
  with listen("127.0.0.1", 0) as taken:
    port = taken.getsockname()[1]
    with pytest.raises(InputError, match=f"cannot serve at --host=127.0.0.1 --port={port}: Address already in use"):
      serve(lambda: pytest.fail("the bundle is opened"), Settings(), "127.0.0.1", port)
  assert capsys.readouterr().out == ""
  with pytest.raises(InputError, match="--host=nowhere.invalid"):
    listen("nowhere.invalid", 7860)


@pytest.mark.parametrize(("host", "address"), [("::1", "http://[::1]:7860/shop/"), ("a.b", "http://a.b:7860/shop/")])
def test_the_printed_address_can_be_opened(host, address):
  assert page_address(host, 7860, "/shop") == address
