"""InfoNCE in both directions."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.train_step.loss import Loss
from composeret_jax.train_step.losses.batch_based_classification import batch_classification_loss


def info_nce_loss(
  composed: Float[Array, "batch dim"], targets: Float[Array, "batch dim"], block_rows: int = 0
) -> Float[Array, ""]:
  """The mean of both directions: picking each query's target among the targets, and each target's query.

  Symmetric InfoNCE as CLIP trains with it; arguments are `batch_classification_loss`'s, which is one direction.
  """
  if block_rows:
    forth = batch_classification_loss(composed, targets, block_rows)
    return (forth + batch_classification_loss(targets, composed, block_rows)) / 2
  logits = composed @ targets.T  # one product for both directions
  normalizers = jax.nn.logsumexp(logits, axis=0) + jax.nn.logsumexp(logits, axis=1)
  return normalizers.mean() / 2 - jnp.trace(logits) / len(logits)


LOSS = Loss(info_nce_loss)
