"""The mean squared error between raw composed features and raw targets, by which LinCIR learns."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.train_step.loss import Loss
from composeret_jax.train_step.shard import Shard, WHOLE_BATCH


def mean_squared_error(
  composed: Float[Array, "rows dim"],
  targets: Float[Array, "rows dim"],
  block_rows: int = 0,
  shard: Shard = WHOLE_BATCH,
) -> Float[Array, ""]:
  """The mean over all numbers of the own rows; no row needs another one's, nor a block of its own."""
  return jnp.square(composed - targets).mean()


LOSS = Loss(mean_squared_error, on_sphere=False)
