"""rank_gallery's search on one CPU: scores that do not pass a query's best so far are neither sorted nor copied."""

from collections.abc import Iterator
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
import numpy as np

from composeret_jax.evaluation.similarities import num_tied, padded_rows, similarities
from composeret_jax.top_k import scores_above, top_k_of_blocks

Block = tuple[np.int32, tuple[Array, ...]]  # the first row, and vectors and groups


def stream_on_cpu(
  queries: tuple[np.ndarray, ...],
  gallery: tuple[np.ndarray, np.ndarray],
  images: Int[np.ndarray, "num_gallery senses"],
  *,
  width: int,
  blocks: tuple[int, int],
  other_groups: bool,
  counts_ties: bool,
) -> tuple[np.ndarray, ...]:
  """Scores, rows and `tied_after` of all queries, padded to whole blocks; `blocks` are the two sizes.

  `queries` are vectors, excluded rows, groups and wanted numbers, `gallery` vectors and groups.
  """
  query_block, gallery_block = blocks
  starts = range(0, len(queries[0]), query_block)
  parts = [tuple(jnp.asarray(padded_rows(array, start, query_block)) for array in queries) for start in starts]
  score = functools.partial(_scores, num_gallery=len(images), other_groups=other_groups)
  found = top_k_of_blocks(score, parts, query_block, _blocks(gallery, gallery_block), width)
  scores, rows = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
  tied_after = np.zeros((len(rows), 1 + images.shape[1]), np.int32)
  tied = np.flatnonzero(_ties_after(scores)[: len(queries[0])]) if counts_ties else ()
  for start in range(0, len(tied), query_block):  # few: their scores are computed once more
    own = tied[start : start + query_block]
    part = tuple(jnp.asarray(padded_rows(array[own], 0, query_block)) for array in queries)
    last = padded_rows(scores[own, -2:-1], 0, query_block), padded_rows(rows[own, -2:-1], 0, query_block)
    for _, block in _blocks(gallery, gallery_block):
      counted = _tied(part, block, last, jnp.asarray(images), other_groups=other_groups)
      tied_after[own] += np.asarray(counted)[: len(own)]
  return scores, rows, tied_after


def _blocks(gallery: tuple[np.ndarray, np.ndarray], size: int) -> Iterator[tuple[int, Block]]:
  for start in range(0, len(gallery[0]), size):
    yield start, (np.int32(start), tuple(jnp.asarray(padded_rows(array, start, size)) for array in gallery))


def _ties_after(scores: Float[np.ndarray, "num width"]) -> Bool[np.ndarray, " num"]:
  """Whether the last column, which is after the list, has the score of the one before."""
  return (scores[:, -1] == scores[:, -2]) & (scores[:, -1] > -np.inf)


@functools.partial(jax.jit, static_argnames=("num_gallery", "other_groups"))
def _scores(queries, block, threshold, *, num_gallery: int, other_groups: bool):
  start, gallery = block
  return scores_above(similarities(queries, gallery, start, num_gallery, other_groups=other_groups)[0], threshold)


@functools.partial(jax.jit, static_argnames="other_groups")
def _tied(queries, block, last, images, *, other_groups: bool):
  """Counts the block's images after the list's last row that have its score; ties stand in gallery order."""
  start, gallery = block
  scores, rows = similarities(queries, gallery, start, len(images), other_groups=other_groups)
  return num_tied((scores == last[0]) & (rows > last[1]), rows[None], images, queries[3])
