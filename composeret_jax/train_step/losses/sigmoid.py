"""The sigmoid loss: each pair of a query and a target is right or wrong by itself."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.train_step.blocks import mean_in_blocks
from composeret_jax.train_step.loss import Loss


def sigmoid_loss(
  composed: Float[Array, "batch dim"],
  targets: Float[Array, "batch dim"],
  bias: Float[Array, ""],
  block_rows: int = 0,
) -> Float[Array, ""]:
  """Each of the batch x batch pairs is right or wrong by itself: -log sigmoid(+-(inner product + bias)).

  SigLIP's loss: summed over the targets, averaged over the queries; only the diagonal is right. Other arguments are as
  for `batch_classification_loss`.
  """

  def of_queries(queries, labels):
    logits = queries @ targets.T + bias
    is_right = labels[:, None] == jnp.arange(len(targets))
    return jax.nn.softplus(jnp.where(is_right, -logits, logits)).sum(axis=-1)

  labels = jnp.arange(len(composed))
  if not block_rows:
    return of_queries(composed, labels).mean()
  return mean_in_blocks(of_queries, (composed, labels), block_rows)


LOSS = Loss(sigmoid_loss, has_bias=True)
