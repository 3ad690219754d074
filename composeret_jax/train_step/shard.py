"""A device's part of the global batch, and what it learns of the others' parts."""

import dataclasses
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

Tree = TypeVar("Tree", bound=PyTree)


@dataclasses.dataclass(frozen=True)
class Shard:
  """The rows of the batch that a function sees: all of them or, with `axis_name`, one device's equal part.

  `axis_name` is a mapped axis, by `shard_map` or `pmap`. Without it every method returns what it is given.
  """

  axis_name: str | None = None

  def row_numbers(self, num_rows: int) -> Int[Array, " num_rows"]:
    """The numbers in the global batch of the `num_rows` own rows."""
    first = jax.lax.axis_index(self.axis_name) * num_rows if self.axis_name else 0
    return first + jnp.arange(num_rows)

  def all_rows(self, own: Tree) -> Tree:
    """The rows of all devices, in the order of the global batch, from arrays [rows, ...] of the own ones."""
    return jax.lax.all_gather(own, self.axis_name, tiled=True) if self.axis_name else own

  def mean(self, own: Float[Array, "..."]) -> Float[Array, "..."]:
    """The mean over the devices."""
    return jax.lax.pmean(own, self.axis_name) if self.axis_name else own

  def logsumexp(self, own: Float[Array, " num"]) -> Float[Array, " num"]:
    """log(sum(exp(x))) over the devices, for each of `num` numbers."""
    if not self.axis_name:
      return own
    largest = jax.lax.pmax(jax.lax.stop_gradient(own), self.axis_name)
    return largest + jnp.log(jax.lax.psum(jnp.exp(own - largest), self.axis_name))


WHOLE_BATCH = Shard()
