"""Exact search of features that may be more than memory holds: in blocks of rows, on the default device."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from composeret_jax.top_k import chunk_size, top_k

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

  def __call__(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows, float32 and int32 [num, min(k, num_rows)], best first; ties keep the order of the rows."""
    width = _power_of_two(k)  # few widths are compiled
    parts = [self._search(queries[start : start + QUERY_ROWS], width) for start in range(0, len(queries), QUERY_ROWS)]
    scores, rows = (np.concatenate(part)[:, : min(k, self._num_rows)] for part in zip(*parts, strict=True))
    return scores, rows

  def _search(self, queries: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    padded = np.zeros((_power_of_two(len(queries)), queries.shape[1]), np.float32)
    padded[: len(queries)] = queries
    vectors = jnp.asarray(padded)
    best = np.full((len(padded), width), -np.inf, np.float32), np.full((len(padded), width), -1, np.int32)
    blocks = map(self._place, self._starts) if self._resident is None else self._resident
    for start, block in zip(self._starts, blocks, strict=True):
      best = _merge(best, vectors, block, np.int32(start), np.int32(self._num_rows))
      if self._resident is None:
        jax.block_until_ready(best)  # no more than two blocks on the device
    scores, rows = (np.asarray(array)[: len(queries)] for array in best)
    return scores, rows

  def _place(self, start: int) -> jax.Array:
    rows = self._read(start, min(start + self._block_rows, self._num_rows))
    return jnp.asarray(np.pad(rows, [(0, self._block_rows - len(rows)), (0, 0)]))


@jax.jit
def _merge(best, queries, block, start, num_rows):
  """The best rows of those so far, `best` (scores, rows), both [num, width], and a block's from row `start` on."""
  width = best[0].shape[1]
  scores = jnp.matmul(queries, block.T, precision=jax.lax.Precision.HIGHEST)
  rows = start + jnp.arange(len(block))
  own_k = min(width, len(block))
  own_scores, places = top_k(jnp.where(rows < num_rows, scores, -jnp.inf), own_k, chunk_size(len(block), own_k))
  all_scores = jnp.concatenate([best[0], own_scores], axis=1)
  all_rows = jnp.concatenate([best[1], rows[places]], axis=1)  # earlier rows first: ties keep their order
  top_scores, chosen = jax.lax.top_k(all_scores, width)
  return top_scores, jnp.take_along_axis(all_rows, chosen, axis=1)


def _power_of_two(number: int) -> int:
  return 1 << (number - 1).bit_length()
