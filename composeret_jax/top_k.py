"""The largest scores of each row, exactly, with less to sort than jax.lax.top_k has: of an array, or of its blocks."""

from collections.abc import Callable, Iterable, Sequence
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

NO_COLUMN = -1


def chunk_size(num_scores: int, k: int) -> int:
  """The power of two that makes `top_k` sort least: sqrt(num_scores / k), rounded down; 1 where k is that large."""
  return 2 ** max(0, int(math.log2(num_scores / max(k, 1)) / 2))


def top_k(scores: jax.Array, k: int, chunk: int) -> tuple[jax.Array, jax.Array]:
  """jax.lax.top_k of [num, num_scores]: only the `k` chunks of neighbours with the largest maxima are looked into.

  Exact, ties too: k chunks whose maxima come first hold k scores that come before any score elsewhere. `num_scores`
  is a multiple of `chunk`. Returns scores and places, both [num, k].
  """
  if k * chunk >= scores.shape[1]:
    top_scores, places = jax.lax.top_k(scores, k)
    return top_scores, places
  chunks = scores.reshape(len(scores), -1, chunk)
  _, found = jax.lax.top_k(chunks.max(axis=2), k)
  found = jnp.sort(found, axis=1)  # back in gallery order
  narrowed = jnp.take_along_axis(chunks, found[:, :, None], axis=1).reshape(len(scores), -1)
  top_scores, places = jax.lax.top_k(narrowed, k)
  return top_scores, jnp.take_along_axis(found, places // chunk, axis=1) * chunk + places % chunk


# On a CPU a sort costs as much as the product that makes the scores, and most blocks hold few scores that matter.
GROUPED = 16  # columns of a block that are compared with a threshold as one
SMALLEST = np.float32(1e-30)  # processors may take smaller scores for 0
_NO_CANDIDATE = np.uint64(0xFF800000_FFFFFFFF)  # a score of -inf in column -1


def scores_above(scores: jax.Array, threshold: jax.typing.ArrayLike) -> tuple[jax.Array, jax.Array]:
  """The float32 [num, num_columns] padded by -inf to whole groups, and which groups [num, num_groups] pass `threshold`.

  Column c is in group c % num_groups; a group passes if one of its scores is larger than the row's threshold [num, 1].
  """
  num_groups = -(-scores.shape[1] // GROUPED)
  padding = num_groups * GROUPED - scores.shape[1]
  if padding:
    scores = jnp.pad(scores, ((0, 0), (0, padding)), constant_values=-jnp.inf)
  parts = [scores[:, start : start + num_groups] for start in range(0, scores.shape[1], num_groups)]
  largest = functools.reduce(lambda one, other: jnp.where(one > other, one, other), parts)
  return scores, largest > threshold


class RunningTopK:
  """The `width` best scores of each of `num` rows, among all columns of the blocks that `add` is given.

  Exact. Ties keep the order of the columns, in which the blocks come; or the order of `ranks`, the rank of each column,
  which then stands for it in the result. Only scores above the width-th best so far are looked at, with ranks also
  those equal to it. A candidate is one number, the score's bits above the rank's, such that smaller is better.
  """

  def __init__(self, num: int, width: int, ranks: np.ndarray | None = None):
    self._width = width
    self._ranks = ranks
    self._kept = max(width, 1)
    self._candidates = np.full((num, 2 * self._kept), _NO_CANDIDATE)  # the best so far, then those found since
    self._num_new = np.zeros(num, int)

  @property
  def threshold(self) -> np.ndarray:
    """Float32 [num, 1]: no score up to it is among the best."""
    least = _decode(self._candidates[:, self._kept - 1 : self._kept])[0]
    if self._ranks is None:
      return least
    return np.where(np.abs(least) < SMALLEST, -SMALLEST, np.nextafter(least, np.float32(-np.inf)))

  def add(self, scores: jax.Array, passing: jax.Array, start: int) -> None:
    """Takes what `scores_above` returns for the columns from `start` on and a threshold read at any time before."""
    groups = np.flatnonzero(np.asarray(passing))
    if len(groups) > passing.shape[0] * self._kept:
      best, columns = map(np.asarray, _block_top_k(scores, min(self._kept + 1, scores.shape[1])))
      if self._ranks is None or not self._is_tied(best):
        rows, places = np.nonzero(best[:, : self._kept] > self.threshold)
        self._put(rows, best[rows, places], columns[rows, places], start)
        return
    self._put(*_pick(np.asarray(scores), groups, self.threshold), start)

  def _is_tied(self, best: np.ndarray) -> bool:
    """Whether columns that a block's best leave out have the score of the last of them, and perhaps smaller ranks."""
    if best.shape[1] <= self._kept:
      return False
    return bool(((best[:, -1] == best[:, -2]) & (best[:, -1] > self.threshold[:, 0])).any())

  def result(self) -> tuple[np.ndarray, np.ndarray]:
    """Scores and columns, float32 and int32 [num, width], best first; -inf and NO_COLUMN where there are no more."""
    self._settle()
    return _decode(self._candidates[:, : self._width])

  def _put(self, rows: np.ndarray, scores: np.ndarray, columns: np.ndarray, start: int) -> None:
    """Appends candidates in the order of their rows; more than there is room for go in by several settlements."""
    keys = _encode(scores, start + columns if self._ranks is None else self._ranks[start + columns])
    while len(keys):
      counts = np.bincount(rows, minlength=len(self._num_new))
      if (self._num_new + counts).max() > self._kept:
        self._settle()
      place = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
      fits = place < self._kept
      self._candidates[rows[fits], self._kept + self._num_new[rows[fits]] + place[fits]] = keys[fits]
      self._num_new += np.minimum(counts, self._kept)
      rows, keys = rows[~fits], keys[~fits]

  def _settle(self) -> None:
    self._candidates.sort(axis=1)
    self._candidates[:, self._kept :] = _NO_CANDIDATE
    self._num_new[:] = 0


def top_k_of_blocks(
  score: Callable[[Any, Any, np.ndarray], tuple[jax.Array, jax.Array]],
  parts: Sequence[Any],
  num: int,
  blocks: Iterable[tuple[int, Any]],
  width: int,
  ranks: np.ndarray | None = None,
) -> list[tuple[np.ndarray, np.ndarray]]:
  """RunningTopK's result for each part of the queries, `num` in each, over blocks of columns from the given starts on.

  `score(part, block, threshold)` returns what `scores_above` does. One program runs while NumPy looks at the scores of
  the one before.
  """
  best = [RunningTopK(num, width, ranks) for _ in parts]
  for start, block in blocks:
    add = None
    for own, part in zip(best, parts, strict=True):
      made = score(part, block, own.threshold)
      if add:
        add()
      add = functools.partial(own.add, *made, start)
    if add:
      add()
  return [own.result() for own in best]


def _pick(scores: np.ndarray, groups: np.ndarray, threshold: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Rows, scores and columns of the scores above the threshold in the groups, numbered row by row."""
  num_groups = scores.shape[1] // GROUPED
  rows, groups = np.divmod(groups, num_groups)
  values = scores.reshape(len(scores), GROUPED, num_groups)[rows, :, groups]
  found = np.flatnonzero(values > threshold[rows])  # flat: np.nonzero of two axes takes several times as long
  chosen, places = np.divmod(found, GROUPED)
  return rows[chosen], values.ravel()[found], places * num_groups + groups[chosen]


@functools.partial(jax.jit, static_argnames="k")
def _block_top_k(scores: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
  return top_k(scores, k, min(chunk_size(scores.shape[1], k), GROUPED))


def _encode(scores: np.ndarray, columns: np.ndarray) -> np.ndarray:
  bits = _in_descending_order(scores.view(np.int32))
  return bits.view(np.uint32).astype(np.uint64) << np.uint64(32) | columns.astype(np.uint32)


def _decode(candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  bits = (candidates >> np.uint64(32)).astype(np.uint32).view(np.int32)
  return _in_descending_order(bits).view(np.float32), candidates.astype(np.uint32).view(np.int32)


def _in_descending_order(bits: np.ndarray) -> np.ndarray:
  """Int32 bits of floats to such that grow, as unsigned numbers, while the floats fall; and back."""
  return np.where(bits < 0, bits, bits ^ np.int32(0x7FFFFFFF))
