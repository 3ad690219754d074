"""The images that a search found, which of them tie, and which are right."""

from collections.abc import Collection, Sequence
import dataclasses

from jaxtyping import Bool, Float, Int
import numpy as np

NO_ROW = -1
NO_LABEL = -1


@dataclasses.dataclass(frozen=True)
class Answers:
  """Which images are right for each query, in one or several senses: by the whole label, by its noun alone.

  `images` numbers the gallery's labels, sense by sense. `wanted` has the numbers that a query wants, and NO_LABEL
  after them: an image with one of these is right.
  """

  images: Int[np.ndarray, "num_gallery senses"]
  wanted: Int[np.ndarray, "num_queries senses most"]

  @classmethod
  def of(cls, *senses: tuple[Sequence[str], Sequence[Collection[str]]]) -> "Answers":
    """Each sense is the gallery's labels, and for each query the labels that it wants."""
    most = max((len(labels) for _, wanted in senses for labels in wanted), default=0)
    images = np.zeros((len(senses[0][0]), len(senses)), np.int32)
    all_wanted = np.full((len(senses[0][1]), len(senses), most), NO_LABEL, np.int32)
    for sense, (gallery, wanted) in enumerate(senses):
      numbers: dict[str, int] = {}
      images[:, sense] = [numbers.setdefault(label, len(numbers)) for label in gallery]
      for query, labels in enumerate(wanted):
        all_wanted[query, sense, : len(labels)] = [numbers.setdefault(label, len(numbers)) for label in labels]
    return cls(images, all_wanted)

  def hits(self, rows: Int[np.ndarray, "num_queries ranked"], sense: int) -> Bool[np.ndarray, "num_queries ranked"]:
    """Which of the gallery rows of each query are right; NO_ROW never is."""
    numbers = self.images[:, sense][rows]
    hits = rows != NO_ROW
    hits &= np.any([numbers == wanted[:, None] for wanted in self.wanted[:, sense].T], axis=0)
    return hits


@dataclasses.dataclass(frozen=True)
class Ranking:
  """The best gallery rows of each query, best first, then NO_ROW where the gallery has no more.

  `levels` are equal where scores are, and grow along a query's list. `tied_after` counts the images after the list
  whose score equals the last one's: all of them, then those that are right in each sense of `answers`.
  """

  rows: Int[np.ndarray, "num_queries ranked"]
  levels: Int[np.ndarray, "num_queries ranked"]
  tied_after: Int[np.ndarray, "num_queries counts"]
  answers: Answers

  @classmethod
  def complete(
    cls,
    rows: Int[np.ndarray, "num_queries ranked"],
    scores: Float[np.ndarray, "num_queries ranked"],
    answers: Answers,
  ) -> "Ranking":
    """A ranking of all images that a query ranks, so that none ties after the list."""
    return cls(rows, levels(scores), np.zeros((len(rows), 1 + answers.images.shape[1]), int), answers)

  def split(self, num: int) -> list["Ranking"]:
    """The rankings of `num` equally large sets of queries, which stand one after the other."""
    arrays = (np.split(array, num) for array in (self.rows, self.levels, self.tied_after, self.answers.wanted))
    return [
      Ranking(rows, own_levels, tied_after, Answers(self.answers.images, wanted))
      for rows, own_levels, tied_after, wanted in zip(*arrays, strict=True)
    ]


def levels(scores: Float[np.ndarray, "num ranked"]) -> Int[np.ndarray, "num ranked"]:
  """Numbers the runs of equal scores in each row, from 0."""
  is_new = np.zeros(scores.shape, bool)
  is_new[:, 1:] = scores[:, 1:] != scores[:, :-1]
  return is_new.cumsum(axis=1, dtype=np.int32)
