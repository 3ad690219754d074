"""InfoNCE in both directions."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.train_step.blocks import in_blocks
from composeret_jax.train_step.candidates import queries_and_candidates
from composeret_jax.train_step.hard_negatives import HardNegatives
from composeret_jax.train_step.loss import Loss
from composeret_jax.train_step.shard import Shard, WHOLE_BATCH


def info_nce_loss(
  composed: Float[Array, "rows dim"],
  targets: Float[Array, "rows dim"],
  block_rows: int = 0,
  negatives: HardNegatives | None = None,
  shard: Shard = WHOLE_BATCH,
) -> Float[Array, ""]:
  """The mean of both directions: picking each query's target among the targets, and each target's query.

  Symmetric InfoNCE as CLIP trains with it; arguments are `batch_classification_loss`'s, which is one direction.
  `negatives` are picked from in the first direction. One product serves both: a device has all candidates for its
  own queries, and the sums over the queries are added up over blocks and devices.
  """
  queries, candidates = queries_and_candidates(composed, targets, negatives, shard)

  def of_queries(queries):
    logits = candidates.logits(queries)
    return jax.nn.logsumexp(logits, axis=1).sum(), jax.nn.logsumexp(logits[:, : candidates.batch_size], axis=0)

  forth, back = in_blocks(of_queries, queries, block_rows)
  normalizers = forth.sum() / len(composed) + shard.logsumexp(jax.nn.logsumexp(back, axis=0)).mean()
  # Not read from the logits: their gradient would be one more array of their size.
  right = (queries.features * targets.astype(jnp.float32)).sum(axis=1)
  return normalizers / 2 - right.mean()


LOSS = Loss(info_nce_loss, takes_hard_negatives=True)
