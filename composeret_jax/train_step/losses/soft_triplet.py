"""The soft triplet loss: an anchor is nearer to its positive than to each of its negatives."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from composeret_jax.train_step.blocks import mean_in_blocks
from composeret_jax.train_step.candidates import ABSENT, NO_ANSWER
from composeret_jax.train_step.hard_negatives import HardNegatives
from composeret_jax.train_step.loss import Loss
from composeret_jax.train_step.shard import Shard, WHOLE_BATCH

# Up to this batch on one device, all inner products take less time than the triplets' vectors, whose gradient is
# scattered row by row.
MAX_BATCH_OF_PRODUCTS = 64


def soft_triplet_loss(
  composed: Float[Array, "rows dim"],
  targets: Float[Array, "rows dim"],
  triplets: Int[Array, "num 3"],
  block_rows: int = 0,
  negatives: HardNegatives | None = None,
  shard: Shard = WHOLE_BATCH,
) -> Float[Array, ""]:
  """Mean of log(1 + exp(d(anchor, positive) - d(anchor, negative))), d the squared Euclidean distance.

  The soft triplet loss of Vo et al., CVPR 2019. `triplets` have the own rows as anchors: numbers of rows of [composed;
  targets] of the whole batch: anchor, positive, negative. Expects features already on the sphere; the rows are
  `shard`'s. `block_rows` above zero bounds how many triplets' vectors exist at a time, in the backward pass too.

  Each of the `negatives` of a row makes one more triplet, with the row's composed feature and its target. What shows
  what the target does is no negative: such a triplet is worth 0, and counts in the mean.
  """
  num_rows = len(composed)
  # One gather, device by device, for a concatenation of all rows would be one more array of their size.
  vectors = shard.all_rows(jnp.concatenate([composed, targets]).astype(jnp.float32))
  is_target, row = jnp.divmod(triplets, len(vectors) // 2)
  device, own_row = jnp.divmod(row, num_rows)
  triplets = (2 * device + is_target) * num_rows + own_row
  is_right = _shows_the_same(row, negatives, shard)
  if not block_rows and len(vectors) == 2 * num_rows <= 2 * MAX_BATCH_OF_PRODUCTS:
    drawn = _terms(_differences_from_products(vectors, triplets), is_right).mean()
  else:

    def of_triplets(rows):
      triplets, is_right = rows
      anchor, positive, negative = jnp.moveaxis(vectors[triplets], 1, 0)
      difference = jnp.square(anchor - positive).sum(axis=-1) - jnp.square(anchor - negative).sum(axis=-1)
      return _terms(difference, is_right)

    drawn = mean_in_blocks(of_triplets, (triplets, is_right), block_rows)
  if negatives is None or not negatives.labels.shape[1]:
    return drawn
  given = _mean_of_given(composed, targets, negatives, block_rows)
  num_drawn, num_given = len(triplets), negatives.labels.size
  return (num_drawn * drawn + num_given * given) / (num_drawn + num_given)


def _terms(differences: Float[Array, "..."], is_right: Bool[Array, "..."] | None) -> Float[Array, "..."]:
  """The loss of each triplet, from d(anchor, positive) - d(anchor, negative); 0 where the negative is right."""
  return jax.nn.softplus(differences if is_right is None else jnp.where(is_right, NO_ANSWER, differences))


def _shows_the_same(
  rows: Int[Array, "num 3"], negatives: HardNegatives | None, shard: Shard
) -> Bool[Array, " num"] | None:
  """Whether a drawn triplet's negative shows what its anchor's row does, by rows of the batch; None: none does."""
  if negatives is None or not negatives.masks_targets:
    return None
  labels = shard.all_rows(negatives.target_labels)
  return labels[rows[:, 0]] == labels[rows[:, 2]]


def _mean_of_given(
  composed: Float[Array, "rows dim"], targets: Float[Array, "rows dim"], negatives: HardNegatives, block_rows: int
) -> Float[Array, ""]:
  """Over the triplets of each own query, its target and each of its negatives."""
  is_right = (negatives.labels == negatives.target_labels[:, None]) | (negatives.labels == ABSENT)
  features = [array.astype(jnp.float32) for array in (composed, targets, negatives.features)]

  def of_rows(rows):
    anchor, positive, others, is_right = rows
    to_positive = jnp.square(anchor - positive).sum(axis=-1, keepdims=True)
    to_others = jnp.square(anchor[:, None] - others).sum(axis=-1)
    return _terms(to_positive - to_others, is_right).mean(axis=1)

  num = negatives.labels.shape[1]
  return mean_in_blocks(of_rows, (*features, is_right), max(1, block_rows // num) if block_rows else 0)


def _differences_from_products(
  vectors: Float[Array, "rows dim"], triplets: Int[Array, "num 3"]
) -> Float[Array, " num"]:
  """From all inner products: |a - p|^2 - |a - n|^2 = (|p|^2 - 2 a.p) - (|n|^2 - 2 a.n)."""
  anchor, positive, negative = triplets.T
  products = _inner_products(vectors)
  distances = jnp.diagonal(products) - 2 * products  # but for |a|^2, which falls away
  return distances[anchor, positive] - distances[anchor, negative]


@jax.custom_vjp
def _inner_products(vectors: Float[Array, "rows dim"]) -> Float[Array, "rows rows"]:
  """Products of each vector with each; the gradient is one product too, where autodiff has one for either factor."""
  # In full precision: TF32's error of 1e-3 is of products, and would be large for their differences.
  return jnp.matmul(vectors, vectors.T, precision=jax.lax.Precision.HIGHEST)


_inner_products.defvjp(
  lambda vectors: (_inner_products(vectors), vectors),
  lambda vectors, slopes: (jnp.matmul(slopes + slopes.T, vectors, precision=jax.lax.Precision.HIGHEST),),
)


LOSS = Loss(soft_triplet_loss, draws_triplets=True, takes_hard_negatives=True)
