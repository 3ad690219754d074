import io
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
from PIL import Image
import pytest

from data_pipelines.input_error import InputError
from data_pipelines.pixels import store
from data_pipelines.pixels.source import DecodedPixels
from data_pipelines.pixels.store import CHUNK, open_store
from data_pipelines.tables import ImageTable

SIZE = 8
NUM_IMAGES = 5 * CHUNK + 3


def jpeg(seed):
  pixels = np.random.default_rng(seed).integers(0, 256, (12, 17, 3), np.uint8)
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, "JPEG")
  return buffer.getvalue()


def table(num_images=NUM_IMAGES):
  names = [f"{i}.jpg" for i in range(num_images)]
  return ImageTable(names, names, [jpeg(i) for i in range(num_images)], [""] * num_images)


@pytest.fixture(scope="module")
def images():
  return table()


def build(images, folder, *, size=SIZE, split="train", source="a 1", num_workers=0):
  return open_store(images, size, folder, split=split, source=source, num_workers=num_workers)


def check(stored, images):
  everything = np.arange(len(images))
  np.testing.assert_array_equal(stored[everything], DecodedPixels(images, SIZE)[everything])


def count_chunks(monkeypatch):
  """The chunks that are decoded from now on, as they are."""
  chunks, decode = [], store._decode_chunk
  monkeypatch.setattr(store, "_decode_chunk", lambda *job: chunks.append(job[2]) or decode(*job))
  return chunks


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_store_holds_what_decoding_gives(images, tmp_path, num_workers):
  stored = build(images, tmp_path, num_workers=num_workers)
  check(stored, images)
  assert len(stored) == NUM_IMAGES
  assert stored.array.shape == (NUM_IMAGES, SIZE, SIZE, 3)
  np.testing.assert_array_equal(stored[5], stored[np.array([5])][0])


def test_a_finished_store_is_not_built_again(images, tmp_path, monkeypatch):
  build(images, tmp_path)
  chunks = count_chunks(monkeypatch)
  build(images, tmp_path)
  assert not chunks


def damage_cut(path):
  os.truncate(path, path.stat().st_size - 1)


def damage_zeros(path):
  """As after power loss: the right size, no pixels."""
  np.load(path, mmap_mode="r+")[:] = 0


def damage_one_pixel(path):
  array = np.load(path, mmap_mode="r+")
  array[-1, 0, 0, 0] ^= 1


@pytest.mark.parametrize("damage", [damage_cut, damage_zeros, damage_one_pixel])
def test_a_damaged_store_is_named(images, tmp_path, damage):
  path = build(images, tmp_path).path
  damage(path)
  with pytest.raises(InputError, match=f"{path} is damaged: .*. Delete it, and the images are decoded again"):
    build(images, tmp_path)
  path.unlink()
  check(build(images, tmp_path), images)


def test_a_store_without_checksums_is_read(images, tmp_path):
  path = build(images, tmp_path).path
  path.with_suffix(".sums").unlink()
  check(build(images, tmp_path), images)


def test_another_size_split_source_or_table_has_another_store(images, tmp_path):
  build(images, tmp_path)
  assert build(images, tmp_path, size=4).array.shape[1:] == (4, 4, 3)
  build(images, tmp_path, split="test")
  build(images, tmp_path, source="a 2")
  assert len(build(table(3), tmp_path)) == 3
  assert len(list(tmp_path.glob("*.npy"))) == 5


def test_it_is_sent_as_a_path(images, tmp_path):
  stored = build(images, tmp_path)
  assert stored.array is not None
  sent = pickle.dumps(stored)
  assert len(sent) < 1000
  check(pickle.loads(sent), images)


KILLED = """
import pathlib, sys, time
from data_pipelines.pixels import store
from tests.data_pipelines.pixels import test_store

class Slow(list):
  def __getitem__(self, row):
    time.sleep(0.5 if row % store.CHUNK == 0 else 0)  # so that there is a middle to be killed in
    return super().__getitem__(row)

if __name__ == "__main__":
  images = test_store.table()
  images = store.ImageTable(images.names, images.labels, Slow(images.encoded), images.groups)
  test_store.build(images, pathlib.Path(sys.argv[1]), num_workers=int(sys.argv[2]))
"""


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_killed_build_goes_on(images, tmp_path, monkeypatch, num_workers):
  folder, program = tmp_path / "pixels", tmp_path / "program.py"
  program.write_text(KILLED)
  environment = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[3])}
  builder = subprocess.Popen([sys.executable, str(program), str(folder), str(num_workers)], env=environment)
  try:
    ticked_off = wait_for_ticks(folder, builder)
  finally:
    builder.send_signal(signal.SIGKILL)
    builder.wait()
  assert not list(folder.glob("*.npy"))
  chunks = count_chunks(monkeypatch)
  check(build(images, folder), images)
  assert 0 < len(chunks) < 6
  assert not ticked_off & set(chunks)
  assert sorted(path.suffix for path in folder.iterdir()) == [".lock", ".npy", ".sums"]


def wait_for_ticks(folder, builder):
  """Returns the first chunks that are done, as soon as any is."""
  deadline = time.time() + 60
  while time.time() < deadline and builder.poll() is None:
    for path in folder.glob("*.ticks"):
      if done := set(np.flatnonzero(np.fromfile(path, np.uint8)).tolist()):
        return done
    time.sleep(0.01)
  raise AssertionError("the build came to no middle")


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_broken_image_is_named_and_the_others_are_kept(images, tmp_path, monkeypatch, num_workers):
  broken = ImageTable(images.names, images.labels, list(images.encoded), images.groups)
  broken.encoded[3 * CHUNK] = broken.encoded[3 * CHUNK][:100]
  with pytest.raises(InputError, match=rf"^{3 * CHUNK}\.jpg: not a readable image"):
    build(broken, tmp_path, num_workers=num_workers)
  assert not list(tmp_path.glob("*.npy"))
  chunks = count_chunks(monkeypatch)
  check(build(images, tmp_path), images)
  assert 3 in chunks
  assert not {0, 1, 2} & set(chunks)


def test_two_that_build_at_once_build_one(tmp_path):
  program = tmp_path / "program.py"
  program.write_text(KILLED)
  environment = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[3])}
  command = [sys.executable, str(program), str(tmp_path / "pixels"), "0"]
  builders = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
  errors = [builder.communicate(timeout=60)[1] for builder in builders]
  assert [builder.returncode for builder in builders] == [0, 0]
  assert sum("decode train" in error for error in errors) == 1
  images = table()
  check(build(images, tmp_path / "pixels"), images)


def test_a_full_disk_is_said_before_decoding(images, tmp_path, monkeypatch):
  monkeypatch.setattr(store.shutil, "disk_usage", lambda path: store.shutil._ntuple_diskusage(10, 9, 1))
  with pytest.raises(InputError, match=r"data\.pixels=decode"):
    build(images, tmp_path)
