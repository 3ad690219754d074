"""Exact search of features that may be more than memory holds: in blocks of rows, on the default device."""

from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np

from composeret_jax.top_k import chunk_size, scores_above, top_k, top_k_of_blocks

BLOCK_ROWS = 8192


QUERY_ROWS = 256


RESIDENT_BYTES = 2**30  # features up to this many bytes stay on the device; more are read again for each search


class Nearest:
  """The rows with the largest inner products, among `num_rows` that `read(start, stop)` gives as float32 [num, dim].

  A search holds two blocks and QUERY_ROWS x BLOCK_ROWS scores at a time.
  """

  def __init__(self, read: Callable[[int, int], np.ndarray], num_rows: int, dim: int):
    self._read = read
    self._num_rows = num_rows
    self._block_rows = min(BLOCK_ROWS, _power_of_two(num_rows))
    self._starts = range(0, num_rows, self._block_rows)
    stays = num_rows * dim * 4 <= RESIDENT_BYTES
    self._resident = [self._place(start) for start in self._starts] if stays else None
    self._all = self._split(np.ones(num_rows, bool))

  def __call__(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows, float32 and int32 [num, min(k, num)], best first; ties keep the order of the rows.

    Only rows of `allowed`, bool [num_rows], are found; `num` is their number, or without it the number of all rows.
    """
    num = self._num_rows if allowed is None else int(allowed.sum())
    masks = self._all if allowed is None else self._split(allowed)
    width = _power_of_two(k)  # few widths are compiled
    size = min(QUERY_ROWS, _power_of_two(len(queries)))
    parts = [_padded(queries[start : start + size], size) for start in range(0, len(queries), size)]
    search = self._search_on_cpu if jax.default_backend() == "cpu" else self._search
    found = (np.concatenate(part) for part in zip(*search(parts, width, masks), strict=True))
    scores, rows = (array[: len(queries), : min(k, num)] for array in found)
    return scores, rows

  def _search(self, parts: list[jax.Array], width: int, masks: list[jax.Array]) -> list[tuple[np.ndarray, np.ndarray]]:
    shape = len(parts[0]), width
    best = [(np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int32))] * len(parts)
    for (start, block), mask in zip(self._blocks(), masks, strict=True):
      own = block, np.int32(start), mask
      best = [_merge(so_far, part, *own) for so_far, part in zip(best, parts, strict=True)]
      if self._resident is None:
        jax.block_until_ready(best)  # no more than two blocks on the device
    return [(np.asarray(scores), np.asarray(rows)) for scores, rows in best]

  def _search_on_cpu(
    self, parts: list[jax.Array], width: int, masks: list[jax.Array]
  ) -> list[tuple[np.ndarray, np.ndarray]]:
    def score(part, block, threshold):
      return _scores(part, *block, threshold)

    blocks = ((start, (block, mask)) for (start, block), mask in zip(self._blocks(), masks, strict=True))
    return top_k_of_blocks(score, parts, len(parts[0]), blocks, width)

  def _blocks(self) -> Iterable[tuple[int, jax.Array]]:
    blocks = map(self._place, self._starts) if self._resident is None else self._resident
    return zip(self._starts, blocks, strict=True)

  def _split(self, allowed: np.ndarray) -> list[jax.Array]:
    """The rows' marks by block; padding is not allowed."""
    return [
      jnp.asarray(np.pad(marks, (0, self._block_rows - len(marks))))
      for marks in (allowed[start : start + self._block_rows] for start in self._starts)
    ]

  def _place(self, start: int) -> jax.Array:
    rows = self._read(start, min(start + self._block_rows, self._num_rows))
    return _padded(rows, self._block_rows)


def _padded(rows: np.ndarray, size: int) -> jax.Array:
  return jnp.asarray(np.pad(rows, [(0, size - len(rows)), (0, 0)]), jnp.float32)


def _products(queries, block, mask):
  """Inner products with the block's rows; -inf where the mask, bool [len(block)], has none."""
  return jnp.where(mask, jnp.matmul(queries, block.T, precision=jax.lax.Precision.HIGHEST), -jnp.inf)


@jax.jit
def _scores(queries, block, mask, threshold):
  return scores_above(_products(queries, block, mask), threshold)


@jax.jit
def _merge(best, queries, block, start, mask):
  """The best rows of those so far, `best` (scores, rows), both [num, width], and a block's from row `start` on."""
  width = best[0].shape[1]
  scores, rows = _products(queries, block, mask), start + jnp.arange(len(block))
  own_k = min(width, len(block))
  own_scores, places = top_k(scores, own_k, chunk_size(len(block), own_k))
  all_scores = jnp.concatenate([best[0], own_scores], axis=1)
  all_rows = jnp.concatenate([best[1], rows[places]], axis=1)  # earlier rows first: ties keep their order
  top_scores, chosen = jax.lax.top_k(all_scores, width)
  return top_scores, jnp.take_along_axis(all_rows, chosen, axis=1)


def _power_of_two(number: int) -> int:
  return 1 << (number - 1).bit_length()
