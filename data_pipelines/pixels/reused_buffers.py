"""Arrays that are filled again once nothing refers to them: fresh ones of a batch's size cost more than its copy."""

import sys
import threading

import numpy as np

# What counts a buffer that nobody has: the list, the loop's variable and getrefcount's own argument.
NUM_OWN_REFERENCES = 3


class ReusedBuffers:
  """Buffers of rows of one shape and dtype, for the threads of a process.

  A buffer is in use while an array that shares its memory is alive. JAX keeps the array it is given until the copy to
  a device has ended, or for as long as its own array uses that memory.
  """

  def __init__(self, row_shape: tuple[int, ...], dtype: np.dtype):
    self._row_shape = row_shape
    self._dtype = dtype
    self._buffers: list[np.ndarray] = []
    self._lock = threading.Lock()

  def take(self, num: int) -> np.ndarray:
    """An array [num, *row_shape] with any content, which no other array that is alive shares."""
    with self._lock:
      for buffer in self._buffers:
        if len(buffer) >= num and sys.getrefcount(buffer) == NUM_OWN_REFERENCES:
          return buffer[:num]
      self._buffers = [buffer for buffer in self._buffers if len(buffer) >= num]  # small ones go when they are let go
      self._buffers.append(np.empty((num, *self._row_shape), self._dtype))
      return self._buffers[-1][:]
