"""Exact search: the best gallery rows for each query by inner product, streamed in blocks over all devices."""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Num
import numpy as np

from composeret_jax.distributed import AXIS, data_mesh, on_every_device, rows_split
from composeret_jax.evaluation.cpu_search import stream_on_cpu
from composeret_jax.evaluation.ranking import Answers, levels, NO_ROW, Ranking
from composeret_jax.evaluation.similarities import num_tied, padded_rows, similarities
from composeret_jax.top_k import chunk_size, top_k

SUBSETS_AT_ONCE = 1024  # queries whose own galleries' vectors exist at a time


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
  answers: Answers | None = None,
) -> Ranking:
  """The `k` gallery rows with the largest inner product for each query, best first; ties keep gallery order.

  `exclude` names for each query one gallery row that is left out: its own image. With groups a query ranks the gallery
  rows of its own group only or, with `other_groups`, the rows of all other groups. Fewer than `k` rows come back
  where the gallery has no more to offer, and NO_ROW where only the query's groups have no more. With `answers` the
  images that tie with a list's last one are counted as well; equal are scores whose float32 numbers are.

  `gallery` may be a memory map: it is read once, in blocks, each split by rows over all devices. A device holds the
  queries and their best rows so far, its part of two gallery blocks, and its part of query_block x gallery_block
  similarities, whatever the size of the gallery, and the numbers of the answers. With several processes each calls
  this with the whole arrays, reads its own devices' rows, and gets the whole answer.
  """
  excluded = np.full(len(queries), NO_ROW) if exclude is None else exclude
  query_groups = np.zeros(len(queries), int) if query_groups is None else query_groups
  gallery_groups = np.zeros(len(gallery), int) if gallery_groups is None else gallery_groups
  k = min(k, len(gallery) - (exclude is not None))
  counts_ties = answers is not None and k > 0
  if answers is None:
    answers = Answers(np.zeros((len(gallery), 0), np.int32), np.zeros((len(queries), 0, 0), np.int32))
  mesh = data_mesh()
  one_cpu = mesh.size == 1 and mesh.devices.flat[0].platform == "cpu"
  found = (stream_on_cpu if one_cpu and k > 0 else _stream)(
    (queries, excluded, query_groups, answers.wanted),
    (gallery, gallery_groups),
    answers.images,
    width=k + counts_ties,  # one more, which says whether images after the list tie with its last
    blocks=(query_block, min(gallery_block, len(gallery))),
    other_groups=other_groups,
    counts_ties=counts_ties,
  )
  scores, rows, tied_after = (array[: len(queries)] for array in found)
  return Ranking(rows[:, :k], levels(scores[:, :k]), tied_after, answers)


def _stream(
  queries: tuple[np.ndarray, ...],
  gallery: tuple[np.ndarray, np.ndarray],
  images: Int[np.ndarray, "num_gallery senses"],
  *,
  width: int,
  blocks: tuple[int, int],
  **static: bool,
) -> tuple[np.ndarray, ...]:
  """Scores, rows and `tied_after` of all queries, padded to whole blocks; `blocks` are the two sizes."""
  mesh = data_mesh()
  query_block, gallery_block = blocks
  device_rows = -(-gallery_block // mesh.size)
  chunk = chunk_size(device_rows, width)
  device_rows = -(-device_rows // chunk) * chunk  # whole chunks
  block_rows = device_rows * mesh.size

  def place_block(arrays, start, size, sharding):
    return tuple(_place(array, start, size, sharding) for array in arrays)

  numbers = _place(images, 0, len(images), on_every_device(mesh))
  merge = functools.partial(_merge, images=numbers, chunk=chunk, mesh=mesh, **static)
  starts = range(0, len(queries[0]), query_block)
  placed_queries = [place_block(queries, start, query_block, on_every_device(mesh)) for start in starts]
  nothing = np.full((query_block, width), -np.inf, np.float32), np.full((query_block, width), NO_ROW, np.int32)
  best = [(*nothing, np.zeros((query_block, 1 + images.shape[1]), np.int32))] * len(placed_queries)
  placed = place_block(gallery, 0, block_rows, rows_split(mesh))
  for start in range(0, len(images), block_rows):
    best = [merge(so_far, block, placed, np.int32(start)) for so_far, block in zip(best, placed_queries, strict=True)]
    if start + block_rows < len(images):  # on its way while the devices compute
      placed = place_block(gallery, start + block_rows, block_rows, rows_split(mesh))
    jax.block_until_ready(best)  # no more than two blocks on the devices
  return tuple(np.concatenate([np.asarray(part) for part in parts]) for parts in zip(*best, strict=True))


def rank_subsets(
  queries: Float[np.ndarray, "num_queries dim"],
  gallery: Float[np.ndarray, "num_gallery dim"],
  subsets: Int[np.ndarray, "num_queries num_members"],
  answers: Answers,
) -> Ranking:
  """Each query's own few gallery rows, best first; ties keep gallery order, and NO_ROW stands last."""
  subsets = np.sort(subsets, axis=1)
  starts = range(0, len(queries), SUBSETS_AT_ONCE)
  blocks = [slice(start, start + SUBSETS_AT_ONCE) for start in starts]
  scores = np.concatenate([np.einsum("qd,qmd->qm", queries[own], gallery[subsets[own]]) for own in blocks])
  scores[subsets == NO_ROW] = -np.inf
  order = np.argsort(-scores, axis=1, kind="stable")
  rows, scores = (np.take_along_axis(array, order, axis=1) for array in (subsets, scores))
  return Ranking.complete(rows, scores, answers)


def _place(rows: Num[np.ndarray, "num ..."], start: int, size: int, sharding: NamedSharding) -> Num[Array, "size ..."]:
  """Rows from `start`, padded with zeros to `size`; reads only what this process's devices hold."""

  def read(index):
    first, stop, _ = index[0].indices(size)
    return padded_rows(rows, start + first, stop - first)

  return jax.make_array_from_callback((size, *rows.shape[1:]), sharding, read)


@functools.partial(jax.jit, static_argnames=("other_groups", "counts_ties", "chunk", "mesh"))
def _merge(best, queries, gallery, start, *, images, other_groups: bool, counts_ties: bool, chunk: int, mesh: Mesh):
  """The best rows of a block of queries among those they had and a block of the gallery from row `start` on.

  Each device takes the best of its own rows; candidates then stand in gallery order, after the earlier rows, so that
  ties keep their order. `best` is (scores, rows), both [query_block, width], and a Ranking's `tied_after`.
  """

  def merge(best, queries, gallery, start, images):
    first = start + jax.lax.axis_index(AXIS) * len(gallery[0])
    scores, rows = similarities(queries, gallery, first, len(images), other_groups=other_groups)
    width = best[0].shape[1]
    own_scores, places = top_k(scores, min(width, len(rows)), chunk)
    own = own_scores, rows[places]
    candidates = (jax.lax.all_gather(array, AXIS, axis=1, tiled=True) for array in own)
    all_scores, all_rows = (jnp.concatenate(pair, axis=1) for pair in zip(best[:2], candidates, strict=True))
    top_scores, places = jax.lax.top_k(all_scores, width)
    top_rows = jnp.take_along_axis(all_rows, places, axis=1)
    top_rows = jnp.where(top_scores > -jnp.inf, top_rows, NO_ROW)
    if not counts_ties:
      return top_scores, top_rows, best[2]
    return top_scores, top_rows, _tied_after(best, (top_scores, top_rows), (scores, rows[None]), images, queries[3])

  whole, split = PartitionSpec(), PartitionSpec(AXIS)
  specs = (whole, whole, split, whole, whole)
  merge = jax.shard_map(merge, mesh=mesh, in_specs=specs, out_specs=whole, check_vma=False)
  return merge(best, queries, gallery, start, images)


def _tied_after(best, top, block, images, wanted) -> Int[Array, "query_block counts"]:
  """Counts the images with the score of the list's last that are in `best` or the block and not in the list.

  The list is `top` without its last column. To them come those that `best` counted, if the last score of its list is
  the same; images with a better score are all in that list. Nothing is counted where no score of the column is a tie.
  """
  cut = top[0][:, -2:-1]
  best_list, top_list = (tuple(array[:, :-1] for array in found[:2]) for found in (best, top))

  def tied(found):
    return (found[0] == cut) & (cut > -jnp.inf)

  def count(found):
    return num_tied(tied(found), found[1], images, wanted)

  def all_tied():
    more = count(best_list) + jax.lax.psum(count(block), AXIS) - count(top_list)
    return jnp.where(best_list[0][:, -1:] == cut, best[2], 0) + more

  return jax.lax.cond(tied((top[0][:, -1:],)).any(), all_tied, lambda: jnp.zeros_like(best[2]))


class NonFiniteError(RuntimeError):
  """A loss, a gradient or a feature is NaN or infinite. The message names it, and the last good checkpoint."""


def check_features(**features: Float[np.ndarray, "_ dim"]) -> None:
  """Raises NonFiniteError with the name, the number and the first of the rows that are not finite."""
  for name, rows in features.items():
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
      raise NonFiniteError(f"{len(bad):,} of {len(rows):,} {name} features are not finite, the first in row {bad[0]}")
