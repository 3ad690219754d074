"""Images and queries as the rest of the program sees them: arrays and lists, whatever data set they come from."""

from collections.abc import Callable, Collection, Sequence
import dataclasses
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Int
import numpy as np


@runtime_checkable
class EncodedRows(Protocol):
  """The encoded images of a table, by row."""

  def __len__(self) -> int: ...

  def __getitem__(self, row: int, /) -> bytes: ...


@dataclasses.dataclass(frozen=True)
class ImageTable:
  """Images by row: where each comes from, what it shows, and its encoded bytes (random access).

  `groups` says which part of the data set each belongs to; "" where it has none.
  """

  names: Sequence[str]
  labels: Sequence[str]
  encoded: EncodedRows
  groups: Sequence[str]

  def __len__(self) -> int:
    return len(self.names)


@dataclasses.dataclass(frozen=True)
class QueryTable:
  """Queries over an image table: the reference's row, the text, and the label of the images that are right.

  `groups` says which queries belong together; "" where none do. `ids` name queries, `right_labels` are the labels of
  all right images, `subsets` of images to rank apart from all others, and `negatives` of images that training shows as
  wrong answers: () where the data set has none. `variants` are further texts of each query, whose composed features
  are averaged with the text's own; of `alternatives` training may show any in place of the text. `captions` are the
  texts before a template.
  Queries for a test server have the target label "".
  """

  references: Int[np.ndarray, " num"]
  texts: Sequence[str]
  target_labels: Sequence[str]
  groups: Sequence[str]
  ids: Sequence[str] = ()
  right_labels: Sequence[Sequence[str]] = ()
  subsets: Sequence[Sequence[str]] = ()
  negatives: Sequence[Sequence[str]] = ()
  variants: Sequence[Sequence[str]] = ()
  captions: Sequence[str] = ()
  alternatives: Sequence[Sequence[str]] = ()

  def __len__(self) -> int:
    return len(self.texts)

  def all_texts(self) -> list[str]:
    """The texts of all queries, and their variants."""
    return [*self.texts, *(text for own in self.variants for text in own)]

  @property
  def have_targets(self) -> bool:
    """Whether it is known what is right: not for a test server's queries, nor where there are none."""
    return any(self.target_labels)


class Triplet(NamedTuple):
  """One training example: rows of the image table, and the text that leads from one to the other.

  `negatives` are rows of images that are wrong answers, the most important first.
  """

  reference: int
  target: int
  text: str
  negatives: tuple[int, ...] = ()


MakeRng = Callable[[], np.random.Generator]  # making one takes as long as all else about a triplet


@runtime_checkable
class TripletSampler(Protocol):
  """Draws training triplets. An epoch visits each of `num_items` items once; an item gives `triplets_per_item`."""

  num_items: int
  triplets_per_item: int

  def sample(self, item: int, make_rng: MakeRng) -> Sequence[Triplet]:
    """The triplets of one visit to an item; what is random about them is drawn from one generator of `make_rng`."""
    ...

  def texts(self) -> Sequence[str]:
    """Every text that training can show, in a fixed order."""
    ...


@dataclasses.dataclass(frozen=True)
class SomeRows:
  """Some rows of encoded images, read where they are asked for; can be sent to another process."""

  encoded: EncodedRows
  rows: Sequence[int]

  def __len__(self) -> int:
    return len(self.rows)

  def __getitem__(self, row: int) -> bytes:
    return self.encoded[self.rows[row]]

  def __getitems__(self, rows: Sequence[int]) -> list[bytes]:
    return encoded_at(self.encoded, [self.rows[row] for row in rows])


def encoded_at(encoded: EncodedRows, rows: Sequence[int]) -> list[bytes]:
  """The encoded images of `rows`, read at once where the table can: 64 of a million small ones, four times as fast."""
  at_once = getattr(encoded, "__getitems__", None)
  return at_once(rows) if at_once else [encoded[row] for row in rows]


def without_images(images: ImageTable, bad: Collection[int]) -> ImageTable:
  """The images but those at the rows `bad`, in their order."""
  rows = [row for row in range(len(images)) if row not in bad]
  names, labels, groups = ([column[row] for row in rows] for column in (images.names, images.labels, images.groups))
  return ImageTable(names, labels, SomeRows(images.encoded, rows), groups)


def without_their_queries(queries: QueryTable, images: ImageTable, bad: Collection[int]) -> QueryTable:
  """The queries that `without_images(images, bad)` can answer, their references as rows of that.

  Left out are queries whose reference is bad, whose target label has no image left, or that have a subset
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
  left = some_queries(queries, kept)
  return dataclasses.replace(left, references=new_rows[left.references].astype(np.int64))


def some_queries(queries: QueryTable, rows: Sequence[int]) -> QueryTable:
  """The queries at these rows, in their order."""
  columns: dict[str, Any] = {
    field.name: [getattr(queries, field.name)[row] for row in rows] if len(getattr(queries, field.name)) else ()
    for field in dataclasses.fields(queries)
  }
  return QueryTable(**columns | {"references": queries.references[list(rows)]})
