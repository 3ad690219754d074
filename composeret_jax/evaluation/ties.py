"""The worth of a query where scores are equal: its expectation over all orders of equal scores, in closed form.

Every order of images with equal scores is as likely as every other. Of a run of `size` such images, `right` of them
right, the first `drawn` places hold a right one with the probability that the hypergeometric distribution gives.
Without ties every value is what it is in the one order that there is, to the bit.
"""

from collections.abc import Sequence
import dataclasses

from jaxtyping import Bool, Float, Int
import numpy as np

from composeret_jax.evaluation.ranking import Ranking


@dataclasses.dataclass(frozen=True)
class Run:
  """For each query the run of equal scores around one place: where it starts, its size, and how many are right.

  `right_before` are the right images with a better score.
  """

  start: Int[np.ndarray, " num_queries"]
  size: Int[np.ndarray, " num_queries"]
  right: Int[np.ndarray, " num_queries"]
  right_before: Int[np.ndarray, " num_queries"]

  @classmethod
  def around(cls, place: int, ranking: Ranking, hits: Bool[np.ndarray, "num_queries ranked"], sense: int) -> "Run":
    """The run around `place`, counted from 0, with those after the list that belong to it."""
    level = ranking.levels[:, place, None]
    inside, before = ranking.levels == level, ranking.levels < level
    is_last = inside[:, -1]
    return cls(
      start=before.sum(axis=1),
      size=inside.sum(axis=1) + is_last * ranking.tied_after[:, 0],
      right=(inside & hits).sum(axis=1) + is_last * ranking.tied_after[:, 1 + sense],
      right_before=(before & hits).sum(axis=1),
    )


def recalls(ranking: Ranking, at: Sequence[int], sense: int = 0) -> Float[np.ndarray, "num_queries at"]:
  """For each query and K the probability that one of the first K images, or more, is right."""
  hits = ranking.answers.hits(ranking.rows, sense)
  values = np.zeros((len(hits), len(at)))
  num_ranked = hits.shape[1]
  for column, k in enumerate(at if num_ranked else ()):
    run = Run.around(min(k, num_ranked) - 1, ranking, hits, sense)
    found = 1 - _none_right(run.size, run.right, min(k, num_ranked) - run.start)
    values[:, column] = np.where(run.right_before > 0, 1.0, found)
  return values


# Pic2Word adds it to the number of right images, and so counts 0 for a query that has none.
SMOOTHING = 1e-5


def relevant_recalls(ranking: Ranking, at: Sequence[int]) -> Float[np.ndarray, "num_queries at"]:
  """For each query and K the expected share of all right images that are among the first K, as Pic2Word counts it.

  The share is (right images among the first K) / (right images + SMOOTHING). Right are images with the target's label.
  """
  hits = ranking.answers.hits(ranking.rows, 0)
  numbers = ranking.answers.images[:, 0]
  wanted = ranking.answers.wanted[:, 0, 0]
  num_right = np.bincount(numbers, minlength=wanted.max(initial=0) + 1)[wanted]
  values = np.zeros((len(hits), len(at)))
  num_ranked = hits.shape[1]
  for column, k in enumerate(at if num_ranked else ()):
    run = Run.around(min(k, num_ranked) - 1, ranking, hits, 0)
    inside = (min(k, num_ranked) - run.start) / run.size
    values[:, column] = (run.right_before + run.right * inside) / (num_right + SMOOTHING)
  return values


def average_precisions(ranking: Ranking, at: Sequence[int], sense: int = 0) -> Float[np.ndarray, "num_queries at"]:
  """For each query and K the expected AP@K, as CIRCO defines it.

  AP@K is the sum over the right images among the first K of (right images up to it) / (its rank), divided by K or by
  the number of labels that the query wants, whichever is less.
  """
  hits = ranking.answers.hits(ranking.rows, sense)
  precisions = np.zeros(hits.shape)
  for place in range(hits.shape[1]):
    run = Run.around(place, ranking, hits, sense)
    # One right image stands here; of the others in the run each stands at an earlier place with the same probability.
    earlier = (place - run.start) * (run.right - 1) / np.maximum(run.size - 1, 1)
    precisions[:, place] = run.right / run.size * (run.right_before + 1 + earlier) / (place + 1)
  num_wanted = (ranking.answers.wanted[:, sense] >= 0).sum(axis=1)
  return np.stack([precisions[:, :k].sum(axis=1) / np.minimum(k, num_wanted) for k in at], axis=1)


def tied_at(ranking: Ranking, at: Sequence[int], sense: int = 0) -> Bool[np.ndarray, " num_queries"]:
  """Queries with a right and a wrong image of one score that stand around a cut: the order decides who is inside."""
  hits = ranking.answers.hits(ranking.rows, sense)
  tied = np.zeros(len(hits), bool)
  for k in at:
    if k <= hits.shape[1]:
      run = Run.around(k - 1, ranking, hits, sense)
      tied |= (run.start + run.size > k) & (run.right > 0) & (run.right < run.size)
  return tied


def _none_right(
  size: Int[np.ndarray, " num"], right: Int[np.ndarray, " num"], drawn: Int[np.ndarray, " num"]
) -> Float[np.ndarray, " num"]:
  """The probability that `drawn` of `size` images, drawn without putting back, are all among the wrong ones."""
  probability = np.ones(len(size))
  for i in range(drawn.max(initial=0)):
    left = np.maximum(size - i, 1)
    probability *= np.where(i < drawn, np.maximum(left - right, 0) / left, 1.0)
  return probability
