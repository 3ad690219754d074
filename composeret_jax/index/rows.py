"""What an index keeps of an image."""

import collections
from collections.abc import Sequence
import dataclasses

import numpy as np

from data_pipelines.input_error import InputError


@dataclasses.dataclass(frozen=True)
class Entry:
  """An image of the index: its name there, the SHA-256 of its encoded bytes, and what is known of it."""

  id: str
  sha256: str
  caption: str = ""
  path: str = ""


@dataclasses.dataclass(frozen=True)
class Rows:
  """Images of an index, one a row: float32 `features` [num, dim] of length 1, the lengths `norms` [num] of the raw
  features, and JPEG `thumbnails`.
  """

  entries: Sequence[Entry]
  features: np.ndarray
  norms: np.ndarray
  thumbnails: Sequence[bytes]

  def __len__(self) -> int:
    return len(self.entries)

  def check(self, feature_dim: int) -> None:
    """Raises InputError unless these can go into an index of this width: shapes, types, each id once."""
    num = len(self.entries)
    found = self.features.dtype, self.features.shape, self.norms.dtype, self.norms.shape, len(self.thumbnails)
    expected = np.float32, (num, feature_dim), np.float32, (num,), num
    if found != expected:
      raise InputError(f"rows for the index are {found}, expected {expected}")
    counts = collections.Counter(entry.id for entry in self.entries)
    wrong = [id for id, count in counts.items() if count > 1 or not id]
    if wrong:
      raise InputError(f"ids of rows for the index are empty or there twice, expected distinct ones: {wrong[:5]}")
