import contextlib
import dataclasses
import io
import socket
import threading
import unittest.mock

import numpy as np
from PIL import Image
import pytest

from composeret_jax.serving.index import create_index, Entry, open_index
from composeret_jax.serving.index.build import build
from composeret_jax.serving.index.sources import SourceImage
from composeret_jax.serving.page.server import build_app, uvicorn
from composeret_jax.serving.page.upload_folder import UploadFolder
from composeret_jax.serving.searcher import Searcher
from tests.fakes.fake_bundle import fake_bundle

NUM_IMAGES = 40

NOT_UTF_8 = "caf\udce9.jpg"  # as Python gives such a name; indexes made before have some

# What a hostile file name or caption may hold.
HOSTILE = '"><img src=x onerror="document.title=1">${document.title=2}{{value}}`\\'


def encoded_image(seed: int) -> bytes:
  pixels = np.random.default_rng(seed).integers(0, 256, (12, 10, 3), dtype=np.uint8)
  stream = io.BytesIO()
  Image.fromarray(pixels).save(stream, "PNG")
  return stream.getvalue()


def images():
  names = {f"{i:03d}": ("box" if i % 2 else "hat") for i in range(NUM_IMAGES)} | {HOSTILE: HOSTILE}
  for seed, (name, caption) in enumerate(names.items()):
    yield SourceImage(name, caption, "", lambda seed=seed: encoded_image(seed))


@pytest.fixture(scope="package")
def searcher(tmp_path_factory):
  bundle = fake_bundle()
  bundle.info["example_texts"] = ["red striped", HOSTILE]
  folder = tmp_path_factory.mktemp("searched") / "index"
  index = create_index(folder, bundle.fingerprint, bundle.feature_dim)
  with contextlib.closing(index):
    build(bundle, index, list(images()))
    with unittest.mock.patch.object(Entry, "check_text"):
      row = index.get(["000"])
      entry = Entry(NOT_UTF_8, "", "no caption \udcff", f"/photos/{NOT_UTF_8}")
      index.put(dataclasses.replace(row, entries=[entry], features=-row.features))
  return Searcher(bundle, open_index(folder))


@pytest.fixture(scope="package")
def uploads(tmp_path_factory):
  """Where the served page keeps what it is sent."""
  return UploadFolder(tmp_path_factory.mktemp("sent") / "uploads")


@pytest.fixture(scope="package")
def address(searcher, uploads):
  """Where the page is served."""
  with socket.create_server(("127.0.0.1", 0)) as listening:
    options = {"log_level": "warning", "timeout_graceful_shutdown": 1}
    server = uvicorn.Server(uvicorn.Config(build_app(searcher, uploads), **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
