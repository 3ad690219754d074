"""The interface of every index."""

import collections
from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, Protocol, runtime_checkable

import numpy as np

from composeret_jax.serving.index.columns import check_metadata, ColumnInfo, Filters, Value
from data_pipelines.input_error import InputError

MOST_CAPTION = 65_535  # bytes, as Milvus has it; a line of an exact index has room for them
LARGEST = 1e6  # number in a feature or a query: products of two stay finite


@dataclasses.dataclass(frozen=True)
class Entry:
  """An image of the index: its name there, the SHA-256 of its encoded bytes, and what is known of it.

  `metadata` are the columns that filters can name: texts, numbers, true or false, lists of texts.
  """

  id: str
  sha256: str
  caption: str = ""
  path: str = ""
  metadata: Mapping[str, Value] = dataclasses.field(default_factory=dict)

  def check_text(self) -> None:
    """Raises InputError, with the name escaped, when a text is not Unicode: nothing could print or send it; and for an
    endless caption.

    Python gives the name of a file that is not UTF-8 as such a text.
    """
    for name in ("id", "sha256", "caption", "path"):
      text = getattr(self, name)
      try:
        text.encode()
      except UnicodeEncodeError as error:
        shown = text.encode("utf-8", "backslashreplace").decode()
        raise InputError(f"{shown}: this {name} of an image is not UTF-8. Rename the file or its folder") from error
    if (size := len(self.caption.encode())) > MOST_CAPTION:
      raise InputError(f"{self.id}: its caption has {size:,} bytes, an index keeps {MOST_CAPTION:,}")


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
    """Raises InputError unless these can go into an index of this width: shapes, types, each id once, Unicode."""
    num = len(self.entries)
    found = self.features.dtype, self.features.shape, self.norms.dtype, self.norms.shape, len(self.thumbnails)
    expected = np.float32, (num, feature_dim), np.float32, (num,), num
    if found != expected:
      raise InputError(f"rows for the index are {found}, expected {expected}")
    counts = collections.Counter(entry.id for entry in self.entries)
    wrong = [id for id, count in counts.items() if count > 1 or not id]
    if wrong:
      raise InputError(f"ids of rows for the index are empty or there twice, expected distinct ones: {wrong[:5]}")
    for entry in self.entries:
      entry.check_text()
      check_metadata(entry.id, entry.metadata)


@runtime_checkable
class Index(Protocol):
  """Unit features of one bundle, by id. One process writes, any number read what was there when they opened it."""

  fingerprint: str  # of the bundle whose features these are
  feature_dim: int

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
    """The rows of these images, in this order; raises InputError with the ids that are not there."""
    ...

  @property
  def generation(self) -> int:
    """A number that grows whenever the index was written; 0 where this is not known."""
    ...

  def newest(self) -> "Index":
    """The index as it was written last, to read; itself where it has not changed."""
    ...

  def columns(self) -> list[ColumnInfo]:
    """The columns of the images' metadata."""
    ...

  def find(self, words: str, limit: int, filters: Filters = ()) -> list[str]:
    """Ids of at most `limit` images that pass the filters and have every one of the words in their caption or id; of
    any where there is none.
    """
    ...

  def unfound(self, words: str) -> dict[str, str | None]:
    """The words that no image has in its caption or id, each with the most similar one that there is, or None."""
    ...

  def browse(self, limit: int, offset: int = 0, filters: Filters = ()) -> list[str]:
    """At most `limit` ids that pass, from the `offset`-th on, in a fixed order that is spread over the index."""
    ...

  def search(self, queries: np.ndarray, k: int, filters: Filters = ()) -> list[list[tuple[str, float]]]:
    """For each of the float32 [num, dim] the ids and inner products of the `k` images with the largest, best first.

    All images found pass the filters.
    Equal ones are in the order of their ids. Fewer where the index has no more. Raises InputError for a query that is
    not finite, or has a number beyond LARGEST.
    """
    ...

  def close(self) -> None:
    """Tidies up what was written, and lets others write."""
    ...


def check_queries(queries: np.ndarray) -> None:
  """Raises InputError with the number of a query that has NaN, infinite or very large values: no order follows them."""
  for number, query in enumerate(queries):
    if not np.abs(query).max(initial=0) <= LARGEST:
      raise InputError(f"query {number} has values that are not finite, or beyond {LARGEST:g}: expected length 1")


def check_same_bundle(index: Index, bundle: Any) -> None:
  """Raises InputError when the index holds features of another bundle."""
  if index.fingerprint != bundle.fingerprint:
    raise InputError(
      f"the index holds features of the bundle {index.fingerprint[:12]}, this one is {bundle.fingerprint[:12]}: search "
      "with that bundle, or make a new index"
    )
  if index.feature_dim != bundle.feature_dim:
    raise InputError(
      f"the index holds features of {index.feature_dim:,} numbers, its bundle's have {bundle.feature_dim:,}"
    )
