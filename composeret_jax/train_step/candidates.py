"""The images among which a query finds its target: the targets of the whole batch, and others beside them."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from composeret_jax.train_step.hard_negatives import HardNegatives
from composeret_jax.train_step.shard import Shard

UNKNOWN = -1  # the label of a candidate that is wrong for every query but its own
ABSENT = -2  # the label of what only fills up an array


# The logit of what is no answer at all: its exponential is 0, and sums of nothing else have gradients.
NO_ANSWER = -1e30


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Queries:
  """A device's own queries.

  `targets` are the places of their targets among the candidates, and `labels` say what these targets show; None where
  the candidates have no labels.
  """

  features: Float[Array, "rows dim"]
  targets: Int[Array, " rows"]
  labels: Int[Array, " rows"] | None


@dataclasses.dataclass(frozen=True)
class Candidates:
  """The images that queries are compared with: the batch's `batch_size` targets in its order, behind them all others.

  `labels` say what each image shows. One with the label of a query's target is no wrong answer to the query; with the
  label UNKNOWN it is one to every query, with ABSENT to none. Without labels (None) every candidate but the target is
  wrong.
  """

  features: Float[Array, "num dim"]
  labels: Int[Array, " num"] | None
  batch_size: int

  def logits(self, queries: Queries) -> Float[Array, "rows num"]:
    """Inner products of queries and candidates; NO_ANSWER where a candidate is neither the target nor wrong.

    Products are always in full float32 precision, forward and backward. They are as large as the square of the radius,
    which training changes, so that no smaller precision is safe: products of bfloat16, which are TPUs' default, have
    errors up to 0.05 where the square is 100.
    """
    logits = jnp.matmul(queries.features, self.features.T, precision=jax.lax.Precision.HIGHEST)
    if self.labels is None or queries.labels is None:
      return logits
    not_wrong = (self.labels == queries.labels[:, None]) | (self.labels == ABSENT)
    return jnp.where(not_wrong & ~self.is_target(queries), NO_ANSWER, logits)

  def is_target(self, queries: Queries) -> Bool[Array, "rows num"]:
    """Which candidate is each query's own target."""
    return queries.targets[:, None] == jnp.arange(len(self.features))


def queries_and_candidates(
  composed: Float[Array, "rows dim"],
  targets: Float[Array, "rows dim"],
  negatives: HardNegatives | None,
  shard: Shard,
) -> tuple[Queries, Candidates]:
  """The own queries of a device, and the candidates of all devices, which are gathered here, once and in float32."""
  numbers = shard.row_numbers(len(composed))
  composed, targets = composed.astype(jnp.float32), targets.astype(jnp.float32)
  if negatives is None:
    targets = shard.all_rows(targets)
    return Queries(composed, numbers, None), Candidates(targets, None, len(targets))
  own = targets, negatives.features.astype(jnp.float32), negatives.labels, negatives.target_labels
  targets, others, labels, target_labels = shard.all_rows(own)
  features = jnp.concatenate([targets, others.reshape(-1, targets.shape[1])])
  shown = target_labels if negatives.masks_targets else jnp.full(len(targets), UNKNOWN)
  labels = jnp.concatenate([shown, labels.ravel()])
  return Queries(composed, numbers, negatives.target_labels), Candidates(features, labels, len(targets))
