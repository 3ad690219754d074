"""Orders the first of each query's images anew, by what the text decoder reads from them as well."""

import dataclasses

from jaxtyping import Float, Int
import numpy as np

from composeret_jax.evaluation.ranking import levels, NO_ROW, Ranking

BLOCK = 256  # queries whose candidates' vectors exist at a time


def rerank(
  ranking: Ranking,
  scores: Float[np.ndarray, "num_queries k"],
  similarities: Float[np.ndarray, "num_queries k"],
  weight: float,
) -> Ranking:
  """The first k of each query's ranks by score + weight * similarity, best first; the others keep their places.

  Images that tie with the one after the first k keep their places too, because only their order in the gallery puts
  them among the first k: what is reranked does not depend on it. Equal sums are ties; they keep their order, and
  NO_ROW stays last.
  """
  k = scores.shape[1]
  first, own_levels = ranking.rows[:, :k], ranking.levels[:, :k]
  # The level of the image after the first k; above every level where there is none.
  has_more = k < ranking.levels.shape[1]
  level_after = ranking.levels[:, k] if has_more else ranking.levels[:, -1] + (ranking.tied_after[:, 0] == 0)
  is_sure = (first != NO_ROW) & (own_levels < level_after[:, None])
  sums = np.where(is_sure, scores + weight * similarities, -np.inf)
  order = np.argsort(-sums, axis=1, kind="stable")
  sums, own_levels, first = (np.take_along_axis(array, order, axis=1) for array in (sums, own_levels, first))
  new_levels = np.where(np.isneginf(sums), own_levels + k, levels(sums))  # after all that are reranked
  return dataclasses.replace(
    ranking,
    rows=np.concatenate([first, ranking.rows[:, k:]], axis=1),
    levels=np.concatenate([new_levels, ranking.levels[:, k:] + k], axis=1),
  )


def cosines(
  queries: Float[np.ndarray, "num_queries dim"],
  gallery: Float[np.ndarray, "num_gallery dim"],
  rows: Int[np.ndarray, "num_queries k"],
) -> Float[np.ndarray, "num_queries k"]:
  """Cosines of each query with its own rows of the gallery; 0 for vectors of length 0."""
  tiny = np.finfo(np.float32).tiny
  queries, gallery = (
    vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), tiny) for vectors in (queries, gallery)
  )
  starts = range(0, len(queries), BLOCK)
  blocks = (slice(start, start + BLOCK) for start in starts)
  return np.concatenate([np.einsum("qd,qkd->qk", queries[block], gallery[rows[block]]) for block in blocks])
