"""A batch encoded piece by piece, so that activations are those of one piece."""

from collections.abc import Callable
from typing import TypeVar

import jax
from jaxtyping import Array, PyTree, Shaped

Carry = TypeVar("Carry")


def in_microbatches(
  function: Callable[..., tuple[Carry, PyTree]], carry: Carry, arrays: PyTree, count: int, num_shards: int
) -> tuple[Carry, PyTree]:
  """`function(carry, *arrays)` -> (carry, rows), over `count` pieces of the batch one after the other.

  Going back, each piece is computed again, so that no more than one piece's activations are held at a time, while what
  follows sees the features of the whole batch. Each piece has an equal part of the rows of each of `num_shards`
  devices, so that no row moves between devices. Rows keep their order.
  """
  if count == 1:
    return function(carry, *arrays)
  pieces = jax.tree.map(lambda rows: _split(rows, count, num_shards), arrays)
  # Inside the loop nothing can be merged with the first computation, which prevent_cse guards against.
  again = jax.checkpoint(lambda carry, piece: function(carry, *piece), prevent_cse=False)
  carry, features = jax.lax.scan(again, carry, pieces)
  return carry, jax.tree.map(lambda rows: _join(rows, num_shards), features)


def _split(rows: Shaped[Array, "batch ..."], count: int, num_shards: int) -> Shaped[Array, "count piece ..."]:
  by_shard = rows.reshape(num_shards, count, -1, *rows.shape[1:])  # [shards, count, batch / shards / count, ...]
  return by_shard.swapaxes(0, 1).reshape(count, -1, *rows.shape[1:])


def _join(pieces: Shaped[Array, "count piece ..."], num_shards: int) -> Shaped[Array, "batch ..."]:
  by_shard = pieces.reshape(len(pieces), num_shards, -1, *pieces.shape[2:])
  return by_shard.swapaxes(0, 1).reshape(-1, *pieces.shape[2:])
