"""The sigmoid loss: each pair of a query and a target is right or wrong by itself."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.train_step.blocks import mean_in_blocks
from composeret_jax.train_step.candidates import queries_and_candidates
from composeret_jax.train_step.hard_negatives import HardNegatives
from composeret_jax.train_step.loss import Loss
from composeret_jax.train_step.shard import Shard, WHOLE_BATCH


def sigmoid_loss(
  composed: Float[Array, "rows dim"],
  targets: Float[Array, "rows dim"],
  bias: Float[Array, ""],
  block_rows: int = 0,
  negatives: HardNegatives | None = None,
  shard: Shard = WHOLE_BATCH,
) -> Float[Array, ""]:
  """Each of the batch x batch pairs is right or wrong by itself: -log sigmoid(+-(inner product + bias)).

  SigLIP's loss: summed over the targets and `negatives`, averaged over the queries; only a query's own target is right.
  Other arguments are as for `batch_classification_loss`.
  """
  queries, candidates = queries_and_candidates(composed, targets, negatives, shard)

  def of_queries(queries):
    logits = candidates.logits(queries) + bias
    return jax.nn.softplus(jnp.where(candidates.is_target(queries), -logits, logits)).sum(axis=-1)

  return mean_in_blocks(of_queries, queries, block_rows)


LOSS = Loss(sigmoid_loss, has_bias=True, takes_hard_negatives=True)
