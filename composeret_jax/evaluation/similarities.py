"""Scores of a block of queries in a block of the gallery, and how many images there tie with the last of a list."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num
import numpy as np


def padded_rows(rows: Num[np.ndarray, "num ..."], start: int, size: int) -> Num[np.ndarray, "size ..."]:
  """Rows from `start` as float32 or int32, padded with zeros to `size`."""
  part = rows[start : start + size]
  part = part.astype(np.float32 if np.issubdtype(part.dtype, np.floating) else np.int32, copy=False)
  return np.pad(part, [(0, size - len(part))] + [(0, 0)] * (part.ndim - 1)) if len(part) < size else part


def similarities(
  queries: tuple[Array, ...], gallery: tuple[Array, Array], start: Array, num_gallery: int, *, other_groups: bool
) -> tuple[Float[Array, "query_block block_rows"], Int[Array, " block_rows"]]:
  """Inner products, -inf where a query does not rank the image, and the gallery's rows from `start` on.

  `queries` are vectors, excluded rows and groups, `gallery` vectors and groups; rows from `num_gallery` on are padding.
  """
  vectors, excluded, query_groups, *_ = queries
  gallery_vectors, gallery_groups = gallery
  rows = start + jnp.arange(len(gallery_vectors))
  scores = jnp.matmul(vectors, gallery_vectors.T, precision=jax.lax.Precision.HIGHEST)
  right_group = (gallery_groups == query_groups[:, None]) != other_groups
  usable = (rows < num_gallery) & (rows != excluded[:, None]) & right_group
  return jnp.where(usable, scores, -jnp.inf), rows


def num_tied(
  tied: Bool[Array, "query_block images"],
  rows: Int[Array, "_ images"],
  images: Int[Array, "num_gallery senses"],
  wanted: Int[Array, "query_block senses most"],
) -> Int[Array, "query_block counts"]:
  """How many of the `rows` are `tied`: all of them, then those that are right in each sense (ranking.Answers)."""
  numbers = images[jnp.clip(rows, 0, len(images) - 1)]
  is_right = (numbers[..., None] == wanted[:, None]).any(axis=-1)
  num_right = (is_right & tied[..., None]).sum(axis=1, dtype=jnp.int32)
  return jnp.concatenate([tied.sum(axis=1, keepdims=True, dtype=jnp.int32), num_right], axis=1)
