"""Batch-based classification: each query picks its own target among all targets of the batch."""

import jax.numpy as jnp
from jaxtyping import Array, Float
import optax

from composeret_jax.train_step.blocks import mean_in_blocks
from composeret_jax.train_step.hard_negatives import HardNegatives
from composeret_jax.train_step.loss import Loss


def batch_classification_loss(
  composed: Float[Array, "batch dim"],
  targets: Float[Array, "batch dim"],
  block_rows: int = 0,
  negatives: HardNegatives | None = None,
) -> Float[Array, ""]:
  """Cross-entropy of picking each query's own target among the batch's targets.

  The batch-based classification loss of Vo et al., "Composing Text and Image for Image Retrieval", CVPR 2019.
  Expects features already on the sphere; the batch is the global one. `block_rows` above zero bounds how many rows of
  the [batch, batch] similarities exist at a time, in the backward pass too. `negatives` are picked from as well: their
  columns stand behind the targets'.
  """

  def cross_entropies(queries, labels):
    logits = queries @ targets.T
    if negatives is not None:
      logits = jnp.concatenate([logits, negatives.logits(queries, labels)], axis=1)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)

  labels = jnp.arange(len(composed))
  if not block_rows:
    return cross_entropies(composed, labels).mean()
  return mean_in_blocks(cross_entropies, (composed, labels), block_rows)


LOSS = Loss(batch_classification_loss, takes_hard_negatives=True)
