"""Batch-based classification: each query picks its own target among all targets of the batch."""

from jaxtyping import Array, Float
import optax

from composeret_jax.train_step.blocks import mean_in_blocks
from composeret_jax.train_step.candidates import queries_and_candidates
from composeret_jax.train_step.hard_negatives import HardNegatives
from composeret_jax.train_step.loss import Loss
from composeret_jax.train_step.shard import Shard, WHOLE_BATCH


def batch_classification_loss(
  composed: Float[Array, "rows dim"],
  targets: Float[Array, "rows dim"],
  block_rows: int = 0,
  negatives: HardNegatives | None = None,
  shard: Shard = WHOLE_BATCH,
) -> Float[Array, ""]:
  """Cross-entropy of picking each query's own target among the batch's targets, a mean over the own queries.

  The batch-based classification loss of Vo et al., "Composing Text and Image for Image Retrieval", CVPR 2019.
  Expects features already on the sphere; the rows are `shard`'s. `block_rows` above zero bounds how many rows of the
  [rows, batch] similarities exist at a time, in the backward pass too. `negatives` are picked from as well: their
  columns stand behind the targets'.
  """
  queries, candidates = queries_and_candidates(composed, targets, negatives, shard)

  def cross_entropies(queries):
    return optax.softmax_cross_entropy_with_integer_labels(candidates.logits(queries), queries.targets)

  return mean_in_blocks(cross_entropies, queries, block_rows)


LOSS = Loss(batch_classification_loss, takes_hard_negatives=True)
