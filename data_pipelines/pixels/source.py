"""Sources of a batch's pixels: a store, or decoding on demand."""

import dataclasses
from typing import Protocol, runtime_checkable

from jaxtyping import Int, Num, UInt8
import numpy as np

from data_pipelines.pixels.decode import CENTRE, decode_image, Resizing
from data_pipelines.tables import ImageTable


@runtime_checkable
class PixelSource(Protocol):
  """An image table's pixels, square, by row, or what stands for them. Can be sent to another process."""

  def __len__(self) -> int: ...

  def __getitem__(self, rows: Int[np.ndarray, " num"]) -> Num[np.ndarray, "num ..."]: ...


@dataclasses.dataclass(frozen=True)
class DecodedPixels:
  """Decodes each image whenever it is asked for."""

  images: ImageTable
  size: int
  resizing: Resizing = CENTRE

  def __len__(self) -> int:
    return len(self.images)

  def __getitem__(self, rows: Int[np.ndarray, " num"]) -> UInt8[np.ndarray, "num size size 3"]:
    """Raises InputError with an image's name when it cannot be decoded."""
    return np.stack([load_pixels(self.images, int(row), self.size, self.resizing) for row in rows])


def load_pixels(
  images: ImageTable, row: int, size: int, resizing: Resizing = CENTRE
) -> UInt8[np.ndarray, "size size 3"]:
  """One image's pixels; raises InputError with its name when it cannot be decoded."""
  return decode_image(images.encoded[row], size, images.names[row], resizing)
