"""Exact search of features, in blocks of rows: in their files on a CPU, otherwise on the default device."""

from collections.abc import Callable, Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from composeret_jax.top_k import chunk_size, scores_above, top_k, top_k_of_blocks

BLOCK_ROWS = 8192
SMALL_ROWS = 1024  # smaller parts of files are copied together
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
    return _in_parts(lambda parts, width: self._search(parts, width, masks), queries, k, num)

  def _search(self, parts: list[jax.Array], width: int, masks: list[jax.Array]) -> list[tuple[np.ndarray, np.ndarray]]:
    shape = len(parts[0]), width
    best = [(np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int32))] * len(parts)
    for (start, block), mask in zip(self._blocks(), masks, strict=True):
      own = block, np.int32(start), mask
      best = [_merge(so_far, part, *own) for so_far, part in zip(best, parts, strict=True)]
      if self._resident is None:
        jax.block_until_ready(best)  # no more than two blocks on the device
    return [(np.asarray(scores), np.asarray(rows)) for scores, rows in best]

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


class NearestInFiles:
  """The same on a CPU, of rows of `files`, float32 arrays [any, dim] that are mapped: what is searched is not copied.

  So processes share the pages of the files, and an index may be larger than the memory that is free. Rows that are
  left over by blocks of SMALL_ROWS and more are copied. `places`, int [num_rows, 2], are the file and the row of each
  row that can be found, in the order that ties have. `check` runs before each search.
  """

  def __init__(self, files: Sequence[np.ndarray], places: np.ndarray, check: Callable[[], None] = lambda: None):
    self._num_rows = len(places)
    self._check = check
    ranks = [np.full(len(file), -1, np.int32) for file in files]
    for number, own in enumerate(ranks):
      found = np.flatnonzero(places[:, 0] == number)
      own[places[found, 1]] = found
    blocks, own_ranks, left_over = [], [], []
    for number, file in enumerate(files):
      start = 0
      for size in _block_sizes(len(file)):
        blocks.append(jax.device_put(np.asarray(file[start : start + size]), may_alias=True))
        own_ranks.append(ranks[number][start : start + size])
        start += size
      left_over.append((file[start:], ranks[number][start:]))
    rest, ranks_of_rest = (np.concatenate(arrays) for arrays in zip(*left_over, strict=True))
    for start in range(0, len(rest), BLOCK_ROWS):
      part = rest[start : start + BLOCK_ROWS]
      size = max(SMALL_ROWS, _power_of_two(len(part)))
      blocks.append(_padded(part, size))
      own = ranks_of_rest[start : start + BLOCK_ROWS]
      own_ranks.append(np.pad(own, (0, size - len(own)), constant_values=-1))
    self._blocks = blocks
    self._starts = np.cumsum([0, *(len(block) for block in blocks)])[:-1]
    self._ranks = np.concatenate(own_ranks)
    self._all = self._split(np.ones(self._num_rows, bool))

  def __call__(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """As Nearest."""
    self._check()
    num = self._num_rows if allowed is None else int(allowed.sum())
    masks = self._all if allowed is None else self._split(allowed)

    def score(part, block, threshold):
      return _scores(part, *block, threshold)

    def search(parts: list[jax.Array], width: int) -> list[tuple[np.ndarray, np.ndarray]]:
      blocks = zip(self._starts.tolist(), zip(self._blocks, masks, strict=True), strict=True)
      return top_k_of_blocks(score, parts, len(parts[0]), blocks, width, self._ranks)

    return _in_parts(search, queries, k, num)

  def _split(self, allowed: np.ndarray) -> list[jax.Array]:
    """The marks of the blocks' rows; none of rows that cannot be found."""
    marks = allowed[self._ranks] & (self._ranks >= 0)
    return [
      jnp.asarray(marks[start : start + len(block)]) for start, block in zip(self._starts, self._blocks, strict=True)
    ]


def _block_sizes(num_rows: int) -> list[int]:
  """The rows of each block of a file: of few sizes, since each is compiled."""
  sizes = [BLOCK_ROWS] * (num_rows // BLOCK_ROWS)
  size, left = BLOCK_ROWS // 2, num_rows % BLOCK_ROWS
  while size >= SMALL_ROWS:
    if left >= size:
      sizes.append(size)
      left -= size
    size //= 2
  return sizes


def _in_parts(
  search: Callable[[list[jax.Array], int], list[tuple[np.ndarray, np.ndarray]]], queries: np.ndarray, k: int, num: int
) -> tuple[np.ndarray, np.ndarray]:
  """Scores and rows of the first `k`, by a search of queries in parts; few sizes and widths are compiled."""
  width = _power_of_two(k)
  size = min(QUERY_ROWS, _power_of_two(len(queries)))
  parts = [_padded(queries[start : start + size], size) for start in range(0, len(queries), size)]
  found = (np.concatenate(part) for part in zip(*search(parts, width), strict=True))
  scores, rows = (array[: len(queries), : min(k, num)] for array in found)
  return scores, rows


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
