"""Exact search: the best gallery rows for each query by inner product, in blocks on the devices."""

from collections.abc import Callable
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import numpy as np

NO_ROW = -1

Place = Callable[[np.ndarray], Array]


def rank_gallery(
  queries: Float[np.ndarray, "num_queries dim"],
  gallery: Float[np.ndarray, "num_gallery dim"],
  *,
  k: int,
  exclude: Int[np.ndarray, " num_queries"] | None = None,
  query_block: int = 256,
  gallery_block: int = 8192,
  place: Place = jnp.asarray,
) -> Int[np.ndarray, "num_queries ranked"]:
  """The `k` gallery rows with the largest inner product for each query, best first; ties keep gallery order.

  `exclude` names for each query one gallery row that is left out: its own image. Fewer than `k` rows come back where
  the gallery has no more to offer. Never holds more than query_block x gallery_block similarities. `place` puts a block
  of queries on the devices.
  """
  excluded = np.full(len(queries), NO_ROW) if exclude is None else exclude
  k = min(k, len(gallery) - (exclude is not None))
  blocks = _gallery_blocks(gallery, min(gallery_block, len(gallery)))
  ranks = []
  for start in range(0, len(queries), query_block):
    rows = slice(start, start + query_block)
    block, block_excluded = _pad(queries[rows], query_block), _pad(excluded[rows], query_block)
    best = _rank_block(place(block), place(block_excluded), blocks, len(gallery), k)
    ranks.append(np.asarray(best)[: len(queries[rows])])
  return np.concatenate(ranks)


def _gallery_blocks(gallery: np.ndarray, block: int) -> Float[Array, "num_blocks block dim"]:
  num_blocks = -(-len(gallery) // block)
  return jnp.asarray(_pad(gallery, num_blocks * block).reshape(num_blocks, block, -1))


def _pad(rows: np.ndarray, length: int) -> np.ndarray:
  return np.pad(rows, [(0, length - len(rows))] + [(0, 0)] * (rows.ndim - 1))


@functools.partial(jax.jit, static_argnames=("num_gallery", "k"))
def _rank_block(queries, excluded, blocks, num_gallery: int, k: int) -> Int[Array, "query_block k"]:
  """Walks over the gallery's blocks and keeps the best `k`; earlier rows stand first, so ties keep their order."""
  num_queries, block = len(queries), blocks.shape[1]

  def merge(best, block_and_start):
    block_rows, start = block_and_start
    rows = start + jnp.arange(block)
    scores = jnp.matmul(queries, block_rows.T, precision=jax.lax.Precision.HIGHEST)
    usable = (rows < num_gallery) & (rows != excluded[:, None])
    scores = jnp.where(usable, scores, -jnp.inf)
    all_scores = jnp.concatenate([best[0], scores], axis=1)
    all_rows = jnp.concatenate([best[1], jnp.broadcast_to(rows, scores.shape)], axis=1)
    top_scores, places = jax.lax.top_k(all_scores, k)
    return (top_scores, jnp.take_along_axis(all_rows, places, axis=1)), None

  nothing = (jnp.full((num_queries, k), -jnp.inf), jnp.full((num_queries, k), NO_ROW))
  starts = jnp.arange(len(blocks)) * block
  (_, rows), _ = jax.lax.scan(merge, nothing, (blocks, starts))
  return rows
