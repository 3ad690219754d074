"""A buffer is filled again once nothing refers to it, and no sooner."""

import jax
import numpy as np
import pytest

from data_pipelines.pixels.reused_buffers import ReusedBuffers
from data_pipelines.pixels.store import PixelStore


def filled(buffers, num, value):
  array = buffers.take(num)
  array[:] = value
  return array


def test_memory_that_is_let_go_is_used_again():
  buffers = ReusedBuffers((64, 64), np.dtype(np.uint8))
  first = filled(buffers, 8, 1)
  address = first.ctypes.data
  del first
  assert buffers.take(8).ctypes.data == address
  assert buffers.take(5).ctypes.data == address
  assert buffers.take(9).ctypes.data != address


def test_an_array_is_left_alone_while_a_part_of_it_is_alive():
  buffers = ReusedBuffers((64, 64), np.dtype(np.uint8))
  part = filled(buffers, 8, 1).reshape(2, 4, 64, 64)[1]  # as a batch is divided between devices
  others = [filled(buffers, 8, value) for value in (2, 3)]
  assert (part == 1).all()
  assert [int(other.max()) for other in others] == [2, 3]


@pytest.mark.parametrize("place", [jax.device_put, jax.numpy.asarray])
def test_an_array_is_left_alone_until_the_devices_have_it(place):
  buffers = ReusedBuffers((64, 64), np.dtype(np.float32))
  placed = [place(filled(buffers, 8, value)) for value in range(20)]
  assert [float(array.min()) for array in placed] == [float(array.max()) for array in placed] == list(range(20))


def test_batches_of_a_store_are_the_callers_own(tmp_path):
  images = np.random.default_rng(0).integers(0, 256, (30, 4, 4, 3), np.dtype(np.uint8))
  np.save(tmp_path / "store.npy", images)
  store = PixelStore(tmp_path / "store.npy")
  rows = [np.arange(start, start + 7) for start in range(20)]
  for own, pixels in zip(rows, [store[own] for own in rows], strict=True):
    np.testing.assert_array_equal(pixels, images[own])
  np.testing.assert_array_equal(store[np.zeros(0, int)], images[:0])
  with pytest.raises(IndexError, match="store.npy has 30 images, and was asked for rows 3 to 30"):
    store[np.array([3, 30])]
