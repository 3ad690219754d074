"""A function of many rows that sees a block of them at a time, in the backward pass too."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

Result = TypeVar("Result", bound=PyTree)


def in_blocks(function: Callable[..., Result], rows: PyTree, block_rows: int) -> Result:
  """`function(rows)` of at most `block_rows` rows at a time, stacked: arrays [num_blocks, ...].

  `rows` is a tree of arrays [num, ...]. The backward pass computes each block again. All rows are one block where
  `block_rows` is 0.
  """
  leaves, structure = jax.tree.flatten(rows)
  num = len(leaves[0])
  if not block_rows or block_rows >= num:
    return jax.tree.map(lambda result: result[None], function(rows))

  def of_block(leaves):
    return function(jax.tree.unflatten(structure, leaves))

  num_full = num // block_rows
  full = [leaf[: num_full * block_rows].reshape(num_full, block_rows, *leaf.shape[1:]) for leaf in leaves]
  # Inside the loop nothing can be merged with the first computation, which prevent_cse guards against.
  results = jax.lax.map(jax.checkpoint(of_block, prevent_cse=False), full)
  if num % block_rows:
    rest = jax.checkpoint(of_block)([leaf[num_full * block_rows :] for leaf in leaves])
    results = jax.tree.map(lambda blocks, last: jnp.concatenate([blocks, last[None]]), results, rest)
  return results


def mean_in_blocks(
  terms: Callable[..., Float[Array, " block_rows"]], rows: PyTree, block_rows: int
) -> Float[Array, ""]:
  """Mean of `terms(rows)`, one number a row, `block_rows` rows at a time as `in_blocks` has it."""
  return in_blocks(lambda block: terms(block).sum(), rows, block_rows).sum() / len(jax.tree.leaves(rows)[0])
