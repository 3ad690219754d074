"""Images and queries as the rest of the program sees them: arrays and lists, whatever data set they come from."""

from collections.abc import Callable, Sequence
import dataclasses
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Int
import numpy as np


@dataclasses.dataclass(frozen=True)
class ImageTable:
  """Images by row: where each comes from, what it shows, and its encoded bytes (random access).

  `groups` says which part of the data set each belongs to; "" where it has none.
  """

  names: Sequence[str]
  labels: Sequence[str]
  encoded: Sequence[bytes]
  groups: Sequence[str]

  def __len__(self) -> int:
    return len(self.names)


@dataclasses.dataclass(frozen=True)
class QueryTable:
  """Queries over an image table: the reference's row, the text, and the label of the images that are right.

  `groups` says which queries belong together; "" where none do. `ids` name queries, `right_labels` are those of all
  images that are right, and `subsets` those of images to rank apart from all others: () where the data set has none.
  Queries for a test server have the target label "".
  """

  references: Int[np.ndarray, " num"]
  texts: Sequence[str]
  target_labels: Sequence[str]
  groups: Sequence[str]
  ids: Sequence[str] = ()
  right_labels: Sequence[Sequence[str]] = ()
  subsets: Sequence[Sequence[str]] = ()

  def __len__(self) -> int:
    return len(self.texts)

  @property
  def have_targets(self) -> bool:
    """Whether it is known what is right: not for a test server's queries, nor where there are none."""
    return any(self.target_labels)


class Triplet(NamedTuple):
  """One training example: rows of the image table, and the text that leads from one to the other."""

  reference: int
  target: int
  text: str


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
