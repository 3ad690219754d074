"""Dropout that draws the same for a row of the global batch however the batch is divided."""

import dataclasses

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray


@dataclasses.dataclass
class RowKeys:
  """Random keys for the rows of a batch: a pure function of (key, how many were drawn before, row of the global batch).

  Devices and microbatches that hold some of the rows draw for them what one device would that holds them all.
  """

  key: PRNGKeyArray
  rows: Int[Array, " batch"]
  num_drawn: int = 0

  def draw(self) -> Key[Array, " batch"]:
    """The next key for each row."""
    key = jax.random.fold_in(self.key, self.num_drawn)
    self.num_drawn += 1
    return jax.vmap(jax.random.fold_in, (None, 0))(key, self.rows)


class Dropout(nnx.Module):
  """Zeroes each value with probability `rate` in training mode, and scales the others by 1 / (1 - rate)."""

  def __init__(self, rate: float):
    self.rate = rate
    self.deterministic = False  # set by nnx.Module.train() and eval()

  def __call__(self, inputs: Float[Array, "batch ..."], *, rngs: RowKeys | None) -> Float[Array, "batch ..."]:
    """Raises ValueError without `rngs` in training mode."""
    if self.deterministic or self.rate == 0.0:
      return inputs
    if rngs is None:
      raise ValueError("dropout in training mode draws random numbers: rngs is None, expected RowKeys")
    keep = 1.0 - self.rate
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, keep, inputs.shape[1:]))(rngs.draw())
    return jnp.where(kept, inputs / keep, 0)
