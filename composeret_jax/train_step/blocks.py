"""A mean over many rows whose terms exist a block at a time, in the backward pass too."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped


def mean_in_blocks(
  terms: Callable[..., Float[Array, " block_rows"]], arrays: tuple[Shaped[Array, "num ..."], ...], block_rows: int
) -> Float[Array, ""]:
  """Mean of `terms(*arrays)`, at most `block_rows` rows at a time; the backward pass computes each block again."""
  num = len(arrays[0])
  block_rows = min(block_rows, num)
  num_blocks = -(-num // block_rows)

  def split(rows):
    padded = jnp.pad(rows, [(0, num_blocks * block_rows - num)] + [(0, 0)] * (rows.ndim - 1))
    # A block takes every num_blocks-th row: where rows are split over devices, each device has part of every block.
    return padded.reshape(block_rows, num_blocks, *rows.shape[1:]).swapaxes(0, 1)

  @jax.checkpoint
  def add(total, block):
    *rows, weight = block
    return total + (terms(*rows) * weight).sum(), None

  blocks = *(split(rows) for rows in arrays), split(jnp.ones(num))
  total, _ = jax.lax.scan(add, jnp.zeros(()), blocks)
  return total / num
