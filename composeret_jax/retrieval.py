"""Exact search: the best gallery rows for each query by inner product, in blocks on the devices."""

from collections.abc import Callable
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped
import numpy as np

NO_ROW = -1

Place = Callable[[np.ndarray], Array]


def rank_gallery(
  queries: Float[np.ndarray, "num_queries dim"],
  gallery: Float[np.ndarray, "num_gallery dim"],
  *,
  k: int,
  exclude: Int[np.ndarray, " num_queries"] | None = None,
  query_groups: Int[np.ndarray, " num_queries"] | None = None,
  gallery_groups: Int[np.ndarray, " num_gallery"] | None = None,
  query_block: int = 256,
  gallery_block: int = 8192,
  place: Place = jnp.asarray,
) -> Int[np.ndarray, "num_queries ranked"]:
  """The `k` gallery rows with the largest inner product for each query, best first; ties keep gallery order.

  `exclude` names for each query one gallery row that is left out: its own image. With groups a query ranks the gallery
  rows of its own group only. Fewer than `k` rows come back where the gallery has no more to offer, and NO_ROW where
  only the query's group has no more. Never holds more than query_block x gallery_block similarities. `place` puts a
  block of queries on the devices.
  """
  excluded = np.full(len(queries), NO_ROW) if exclude is None else exclude
  query_groups = np.zeros(len(queries), int) if query_groups is None else query_groups
  gallery_groups = np.zeros(len(gallery), int) if gallery_groups is None else gallery_groups
  k = min(k, len(gallery) - (exclude is not None))
  gallery_block = min(gallery_block, len(gallery))
  blocks = _gallery_blocks(gallery, gallery_block), _gallery_blocks(gallery_groups, gallery_block)
  ranks = []
  for start in range(0, len(queries), query_block):
    rows = slice(start, start + query_block)
    block = (place(_pad(array[rows], query_block)) for array in (queries, excluded, query_groups))
    best = _rank_block(*block, blocks, len(gallery), k)
    ranks.append(np.asarray(best)[: len(queries[rows])])
  return np.concatenate(ranks)


def _gallery_blocks(rows: np.ndarray, block: int) -> Shaped[Array, "num_blocks block ..."]:
  num_blocks = -(-len(rows) // block)
  return jnp.asarray(_pad(rows, num_blocks * block).reshape(num_blocks, block, *rows.shape[1:]))


def _pad(rows: np.ndarray, length: int) -> np.ndarray:
  return np.pad(rows, [(0, length - len(rows))] + [(0, 0)] * (rows.ndim - 1))


@functools.partial(jax.jit, static_argnames=("num_gallery", "k"))
def _rank_block(queries, excluded, groups, blocks, num_gallery: int, k: int) -> Int[Array, "query_block k"]:
  """Walks over the gallery's blocks and keeps the best `k`; earlier rows stand first, so ties keep their order."""
  num_queries = len(queries)
  num_blocks, block = blocks[1].shape

  def merge(best, block_and_start):
    (block_rows, block_groups), start = block_and_start
    rows = start + jnp.arange(block)
    scores = jnp.matmul(queries, block_rows.T, precision=jax.lax.Precision.HIGHEST)
    usable = (rows < num_gallery) & (rows != excluded[:, None]) & (block_groups == groups[:, None])
    scores = jnp.where(usable, scores, -jnp.inf)
    all_scores = jnp.concatenate([best[0], scores], axis=1)
    all_rows = jnp.concatenate([best[1], jnp.broadcast_to(rows, scores.shape)], axis=1)
    top_scores, places = jax.lax.top_k(all_scores, k)
    return (top_scores, jnp.take_along_axis(all_rows, places, axis=1)), None

  nothing = (jnp.full((num_queries, k), -jnp.inf), jnp.full((num_queries, k), NO_ROW))
  starts = jnp.arange(num_blocks) * block
  (scores, rows), _ = jax.lax.scan(merge, nothing, (blocks, starts))
  return jnp.where(scores > -jnp.inf, rows, NO_ROW)
