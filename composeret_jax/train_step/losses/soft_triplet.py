"""The soft triplet loss: an anchor is nearer to its positive than to each of its negatives."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from composeret_jax.train_step.blocks import mean_in_blocks
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
  shard: Shard = WHOLE_BATCH,
) -> Float[Array, ""]:
  """Mean of log(1 + exp(d(anchor, positive) - d(anchor, negative))), d the squared Euclidean distance.

  The soft triplet loss of Vo et al., CVPR 2019. `triplets` have the own rows as anchors: numbers of rows of [composed;
  targets] of the whole batch: anchor, positive, negative. Expects features already on the sphere; the rows are
  `shard`'s. `block_rows` above zero bounds how many triplets' vectors exist at a time, in the backward pass too.
  """
  num_rows = len(composed)
  # One gather, device by device, for a concatenation of all rows would be one more array of their size.
  vectors = shard.all_rows(jnp.concatenate([composed, targets]).astype(jnp.float32))
  is_target, row = jnp.divmod(triplets, len(vectors) // 2)
  device, own_row = jnp.divmod(row, num_rows)
  triplets = (2 * device + is_target) * num_rows + own_row
  if not block_rows and len(vectors) == 2 * num_rows <= 2 * MAX_BATCH_OF_PRODUCTS:
    return _mean_from_products(vectors, triplets)

  def of_triplets(triplets):
    anchor, positive, negative = jnp.moveaxis(vectors[triplets], 1, 0)
    difference = jnp.square(anchor - positive).sum(axis=-1) - jnp.square(anchor - negative).sum(axis=-1)
    return jax.nn.softplus(difference)

  return mean_in_blocks(of_triplets, triplets, block_rows)


def _mean_from_products(vectors: Float[Array, "rows dim"], triplets: Int[Array, "num 3"]) -> Float[Array, ""]:
  """From all inner products: |a - p|^2 - |a - n|^2 = (|p|^2 - 2 a.p) - (|n|^2 - 2 a.n)."""
  anchor, positive, negative = triplets.T
  products = _inner_products(vectors)
  distances = jnp.diagonal(products) - 2 * products  # but for |a|^2, which falls away
  return jax.nn.softplus(distances[anchor, positive] - distances[anchor, negative]).mean()


@jax.custom_vjp
def _inner_products(vectors: Float[Array, "rows dim"]) -> Float[Array, "rows rows"]:
  """Products of each vector with each; the gradient is one product too, where autodiff has one for either factor."""
  # In full precision: TF32's error of 1e-3 is of products, and would be large for their differences.
  return jnp.matmul(vectors, vectors.T, precision=jax.lax.Precision.HIGHEST)


_inner_products.defvjp(
  lambda vectors: (_inner_products(vectors), vectors),
  lambda vectors, slopes: (jnp.matmul(slopes + slopes.T, vectors, precision=jax.lax.Precision.HIGHEST),),
)


LOSS = Loss(soft_triplet_loss, draws_triplets=True)
