"""What every index can do."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from composeret_jax.index.rows import Entry, Rows


@runtime_checkable
class Index(Protocol):
  """Unit features of one bundle, by id. One process writes, any number read what was there when they opened it."""

  @property
  def fingerprint(self) -> str:
    """That of the bundle whose features these are."""
    ...

  @property
  def feature_dim(self) -> int:
    """The width of a feature."""
    ...

  def __len__(self) -> int: ...

  def __contains__(self, id: str) -> bool: ...

  def entries(self) -> Mapping[str, Entry]:
    """All images by id: as much memory as there are images."""
    ...

  def put(self, rows: Rows) -> None:
    """Adds images, in place of those with the same ids; either all of them or, when killed, none or some.

    Raises InputError when they do not fit, or another process is writing.
    """
    ...

  def delete(self, ids: Sequence[str]) -> None:
    """Removes images; raises InputError with the ids that are not there, and then removes none."""
    ...

  def get(self, ids: Sequence[str]) -> Rows:
    """What is kept of these images, in this order; raises InputError with the ids that are not there."""
    ...

  def find(self, words: str, limit: int) -> list[str]:
    """Ids of at most `limit` images that have every one of the words in their caption or id; of any where there is
    none.
    """
    ...

  def search(self, queries: np.ndarray, k: int) -> list[list[tuple[str, float]]]:
    """For each of the float32 [num, dim] the ids and inner products of the `k` images with the largest, best first.

    Equal ones are in the order of their ids. Fewer where the index has no more.
    """
    ...

  def close(self) -> None:
    """Tidies up what was written, and lets others write."""
    ...
