"""Dropout that draws the same for a row of the global batch however the batch is divided."""

import dataclasses
import math

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray


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

  @property
  def acts(self) -> bool:
    """Whether a call changes anything."""
    return not self.deterministic and self.rate > 0.0

  def __call__(self, inputs: Float[Array, "batch ..."], *, rngs: RowKeys | None) -> Float[Array, "batch ..."]:
    """Raises ValueError without `rngs` in training mode."""
    if not self.acts:
      return inputs
    if rngs is None:
      raise ValueError("dropout in training mode draws random numbers: rngs is None, expected RowKeys")
    keep = 1.0 - self.rate
    kept = jax.vmap(lambda key: self._kept(key, inputs.shape[1:]))(rngs.draw())
    return jnp.where(kept, inputs / keep, 0)

  def _kept(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Bool[Array, "..."]:
    return jax.random.bernoulli(key, 1.0 - self.rate, shape)


class CoinDropout(Dropout):
  """Dropout of one half at one random bit a value, for wide layers: a float a value can take longer than the layer."""

  def __init__(self):
    super().__init__(0.5)

  def _kept(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Bool[Array, "..."]:
    count = math.prod(shape)
    words = jax.random.bits(key, (-(-count // 32), 1), jnp.uint32)
    bits = words >> jnp.arange(32, dtype=jnp.uint32) & 1  # [words, 32]
    return bits.astype(bool).ravel()[:count].reshape(shape)
