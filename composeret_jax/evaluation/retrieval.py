"""Exact search: the best gallery rows for each query by inner product, streamed in blocks over all devices."""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Num
import numpy as np

from composeret_jax.distributed import AXIS, data_mesh, on_every_device, rows_split
from composeret_jax.top_k import chunk_size, top_k

NO_ROW = -1


def rank_gallery(
  queries: Float[np.ndarray, "num_queries dim"],
  gallery: Float[np.ndarray, "num_gallery dim"],
  *,
  k: int,
  exclude: Int[np.ndarray, " num_queries"] | None = None,
  query_groups: Int[np.ndarray, " num_queries"] | None = None,
  gallery_groups: Int[np.ndarray, " num_gallery"] | None = None,
  other_groups: bool = False,
  query_block: int = 256,
  gallery_block: int = 8192,
) -> Int[np.ndarray, "num_queries ranked"]:
  """The `k` gallery rows with the largest inner product for each query, best first; ties keep gallery order.

  `exclude` names for each query one gallery row that is left out: its own image. With groups a query ranks the gallery
  rows of its own group only or, with `other_groups`, those of all groups but its own. Fewer than `k` rows come back
  where the gallery has no more to offer, and NO_ROW where only the query's groups have no more.

  `gallery` may be a memory map: it is read once, in blocks, each split by rows over all devices. A device holds the
  queries and their best rows so far, its part of two gallery blocks, and its part of query_block x gallery_block
  similarities, whatever the size of the gallery. With several processes each calls this with the whole arrays, reads
  its own devices' rows, and gets the whole answer.
  """
  excluded = np.full(len(queries), NO_ROW) if exclude is None else exclude
  query_groups = np.zeros(len(queries), int) if query_groups is None else query_groups
  gallery_groups = np.zeros(len(gallery), int) if gallery_groups is None else gallery_groups
  k = min(k, len(gallery) - (exclude is not None))
  mesh = data_mesh()
  device_rows = -(-min(gallery_block, len(gallery)) // mesh.size)
  chunk = chunk_size(device_rows, k)
  device_rows = -(-device_rows // chunk) * chunk  # whole chunks
  block_rows = device_rows * mesh.size

  def place_queries(start):
    arrays = queries, excluded, query_groups
    return tuple(_place(array, start, query_block, on_every_device(mesh)) for array in arrays)

  def place_gallery(start):
    return tuple(_place(array, start, block_rows, rows_split(mesh)) for array in (gallery, gallery_groups))

  merge = functools.partial(_merge, num_gallery=len(gallery), other_groups=other_groups, chunk=chunk, mesh=mesh)
  blocks = [place_queries(start) for start in range(0, len(queries), query_block)]
  nothing = np.full((query_block, k), -np.inf, np.float32), np.full((query_block, k), NO_ROW, np.int32)
  best = [nothing] * len(blocks)
  placed = place_gallery(0)
  for start in range(0, len(gallery), block_rows):
    best = [merge(so_far, block, placed, np.int32(start)) for so_far, block in zip(best, blocks, strict=True)]
    if start + block_rows < len(gallery):
      placed = place_gallery(start + block_rows)  # on its way while the devices compute
    jax.block_until_ready(best)  # no more than two blocks on the devices
  return np.concatenate([np.asarray(rows) for _, rows in best])[: len(queries)]


def rank_subsets(
  queries: Float[np.ndarray, "num_queries dim"],
  gallery: Float[np.ndarray, "num_gallery dim"],
  subsets: Int[np.ndarray, "num_queries num_members"],
) -> Int[np.ndarray, "num_queries num_members"]:
  """Each query's own few gallery rows, best first; ties keep gallery order."""
  subsets = np.sort(subsets, axis=1)
  scores = np.einsum("qd,qmd->qm", queries, gallery[subsets])
  return np.take_along_axis(subsets, np.argsort(-scores, axis=1, kind="stable"), axis=1)


def _place(rows: Num[np.ndarray, "num ..."], start: int, size: int, sharding: NamedSharding) -> Num[Array, "size ..."]:
  """Rows from `start`, padded with zeros to `size`; reads only what this process's devices hold."""

  def read(index):
    first, stop, _ = index[0].indices(size)
    part = rows[start + first : start + stop]
    part = part.astype(np.float32 if np.issubdtype(part.dtype, np.floating) else np.int32, copy=False)
    return np.pad(part, [(0, stop - first - len(part))] + [(0, 0)] * (part.ndim - 1))

  return jax.make_array_from_callback((size, *rows.shape[1:]), sharding, read)


@functools.partial(jax.jit, static_argnames=("num_gallery", "other_groups", "chunk", "mesh"))
def _merge(best, queries, gallery, start, *, num_gallery: int, other_groups: bool, chunk: int, mesh: Mesh):
  """The best rows of a block of queries among those they had and a block of the gallery from row `start` on.

  Each device takes the best of its own rows; candidates then stand in gallery order, after the earlier rows, so that
  ties keep their order. `best` is (scores, rows), both [query_block, k].
  """

  def merge(best, queries, gallery, start):
    vectors, excluded, query_groups = queries
    gallery_vectors, gallery_groups = gallery
    rows = start + jax.lax.axis_index(AXIS) * len(gallery_vectors) + jnp.arange(len(gallery_vectors))
    scores = jnp.matmul(vectors, gallery_vectors.T, precision=jax.lax.Precision.HIGHEST)
    right_group = (gallery_groups == query_groups[:, None]) != other_groups
    usable = (rows < num_gallery) & (rows != excluded[:, None]) & right_group
    k = best[0].shape[1]
    own_scores, places = top_k(jnp.where(usable, scores, -jnp.inf), min(k, len(rows)), chunk)
    own = own_scores, rows[places]
    candidates = (jax.lax.all_gather(array, AXIS, axis=1, tiled=True) for array in own)
    all_scores, all_rows = (jnp.concatenate(pair, axis=1) for pair in zip(best, candidates, strict=True))
    top_scores, places = jax.lax.top_k(all_scores, k)
    top_rows = jnp.take_along_axis(all_rows, places, axis=1)
    return top_scores, jnp.where(top_scores > -jnp.inf, top_rows, NO_ROW)

  whole, split = PartitionSpec(), PartitionSpec(AXIS)
  merge = jax.shard_map(merge, mesh=mesh, in_specs=(whole, whole, split, whole), out_specs=whole, check_vma=False)
  return merge(best, queries, gallery, start)


class NonFiniteError(RuntimeError):
  """A loss, a gradient or a feature is NaN or infinite. The message names it, and the last good checkpoint."""


def check_features(**features: Float[np.ndarray, "_ dim"]) -> None:
  """Raises NonFiniteError with the name, the number and the first of the rows that are not finite."""
  for name, rows in features.items():
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
      raise NonFiniteError(f"{len(bad):,} of {len(rows):,} {name} features are not finite, the first in row {bad[0]}")


BLOCK = 256  # queries whose candidates' vectors exist at a time


def rerank(
  ranks: Int[np.ndarray, "num_queries ranked"],
  scores: Float[np.ndarray, "num_queries k"],
  similarities: Float[np.ndarray, "num_queries k"],
  weight: float,
) -> Int[np.ndarray, "num_queries ranked"]:
  """The first k of each query's ranks by score + weight * similarity, best first; the others keep their places.

  Ties keep their order, and NO_ROW stays last.
  """
  k = scores.shape[1]
  first, rest = ranks[:, :k], ranks[:, k:]
  sums = np.where(first == NO_ROW, -np.inf, scores + weight * similarities)
  order = np.argsort(-sums, axis=1, kind="stable")
  return np.concatenate([np.take_along_axis(first, order, axis=1), rest], axis=1)


def cosines(
  queries: Float[np.ndarray, "num_queries dim"],
  gallery: Float[np.ndarray, "num_gallery dim"],
  rows: Int[np.ndarray, "num_queries k"],
) -> Float[np.ndarray, "num_queries k"]:
  """Of each query with its own rows of the gallery; 0 for vectors of length 0."""
  queries, gallery = _unit(queries), _unit(gallery)
  starts = range(0, len(queries), BLOCK)
  blocks = (slice(start, start + BLOCK) for start in starts)
  return np.concatenate([np.einsum("qd,qkd->qk", queries[block], gallery[rows[block]]) for block in blocks])


def _unit(vectors: Float[np.ndarray, "num dim"]) -> Float[np.ndarray, "num dim"]:
  lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
  return vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
