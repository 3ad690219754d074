"""Tables without the images that cannot be used, and without the queries that need them."""

from collections.abc import Collection, Sequence
import dataclasses

import numpy as np

from data_pipelines.queries.tables import ImageTable, QueryTable


@dataclasses.dataclass(frozen=True)
class SomeRows(Sequence[bytes]):
  """Some rows of encoded images, read where they are asked for; can be sent to another process."""

  encoded: Sequence[bytes]
  rows: Sequence[int]

  def __len__(self) -> int:
    return len(self.rows)

  def __getitem__(self, row: int) -> bytes:
    return self.encoded[self.rows[row]]


def without_images(images: ImageTable, bad: Collection[int]) -> ImageTable:
  """The images but those at the rows `bad`, in their order."""
  rows = [row for row in range(len(images)) if row not in bad]
  names, labels, groups = ([column[row] for row in rows] for column in (images.names, images.labels, images.groups))
  return ImageTable(names, labels, SomeRows(images.encoded, rows), groups)


def without_their_queries(queries: QueryTable, images: ImageTable, bad: Collection[int]) -> QueryTable:
  """The queries that `without_images(images, bad)` can answer, their references as rows of that.

  Left out are those whose reference is bad, those of whose target label no image is left, and those that have a subset
  of which not all images are left.
  """
  good = np.array([row not in bad for row in range(len(images))], bool)
  new_rows = np.cumsum(good) - 1
  labels = {label for label, is_good in zip(images.labels, good, strict=True) if is_good}
  kept = [
    row
    for row, (reference, label) in enumerate(zip(queries.references, queries.target_labels, strict=True))
    if good[reference] and label in labels and (not queries.subsets or labels.issuperset(queries.subsets[row]))
  ]
  columns = {
    field.name: [getattr(queries, field.name)[row] for row in kept] if len(getattr(queries, field.name)) else ()
    for field in dataclasses.fields(queries)
  }
  return QueryTable(**columns | {"references": new_rows[queries.references[kept]].astype(np.int64)})
