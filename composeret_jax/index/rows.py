"""What an index keeps of an image."""

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
    ids = [entry.id for entry in self.entries]
    repeated = sorted({id for id in ids if ids.count(id) > 1}) if len(set(ids)) < num else []
    if repeated or "" in ids:
      raise InputError(f"ids must be distinct and not empty; found twice or empty: {repeated or ['']}")
