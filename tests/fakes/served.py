"""A small index with hostile names, and servers for it."""

import contextlib
import dataclasses
import http.client
import io
import json
import socket
import threading
import unittest.mock
from urllib.parse import urlsplit

import numpy as np
from PIL import Image
import uvicorn

from composeret_jax.serving.index import create_index, Entry, open_index
from composeret_jax.serving.index.build import build
from composeret_jax.serving.index.sources import SourceImage
from composeret_jax.serving.searcher import Searcher
from tests.fakes.fake_bundle import fake_bundle

NUM_IMAGES = 40

NOT_UTF_8 = "caf\udce9.jpg"  # as Python gives such a name; indexes made before have some

# What a hostile file name or caption may hold.
HOSTILE = '"><img src=x onerror="document.title=1">${document.title=2}{{value}}`\\'


def encoded_image(seed: int, size=(10, 12), format: str = "PNG") -> bytes:
  pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
  stream = io.BytesIO()
  Image.fromarray(pixels).save(stream, format)
  return stream.getvalue()


def images():
  names = {f"{i:03d}": ("box" if i % 2 else "hat") for i in range(NUM_IMAGES)} | {HOSTILE: HOSTILE}
  for seed, (name, caption) in enumerate(names.items()):
    yield SourceImage(name, caption, "", lambda seed=seed: encoded_image(seed))


def fake_searcher(folder) -> Searcher:
  """Over 40 images called 000 to 039 with captions hat and box, one with a hostile name, and one that is not UTF-8."""
  bundle = fake_bundle()
  index = create_index(folder, bundle.fingerprint, bundle.feature_dim)
  with contextlib.closing(index):
    build(bundle, index, list(images()))
    with unittest.mock.patch.object(Entry, "check_text"):
      row = index.get(["000"])
      entry = Entry(NOT_UTF_8, "", "no caption \udcff", f"/photos/{NOT_UTF_8}")
      index.put(dataclasses.replace(row, entries=[entry], features=-row.features))
  return Searcher(bundle, open_index(folder))


@contextlib.contextmanager
def served(app):
  """The address of a server for the app, in a thread."""
  with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
      yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
      server.should_exit = True
      thread.join(20)


def ask(address, path, body=None, method=None, headers=None):
  """Status, headers and content of an answer; bytes in `body` are sent unchanged, anything else as JSON.

  The content is what the JSON says, or else bytes.
  """
  content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
  connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
  own = {} if body is None else {"Content-Type": "application/json"}
  connection.request(method or ("GET" if body is None else "POST"), path, content, own | (headers or {}))
  answer = connection.getresponse()
  received = answer.read()
  connection.close()
  is_json = answer.headers.get("content-type", "").startswith("application/json")
  return answer.status, answer.headers, json.loads(received) if is_json else received


def form(content: bytes, name: str = "file") -> tuple[bytes, dict[str, str]]:
  """The body and the headers of an upload."""
  head = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="../a.png"\r\nContent-Type: image/png\r\n\r\n'
  return head.encode() + content + b"\r\n--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}


def upload(address, content: bytes, name: str = "file"):
  """Status and content of the answer to an upload."""
  body, headers = form(content, name)
  status, _, answer = ask(address, "/v1/uploads", body, headers=headers)
  return status, answer
