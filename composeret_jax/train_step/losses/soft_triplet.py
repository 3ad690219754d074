"""The soft triplet loss: an anchor is nearer to its positive than to each of its negatives."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from composeret_jax.train_step.blocks import mean_in_blocks
from composeret_jax.train_step.loss import Loss


def soft_triplet_loss(
  composed: Float[Array, "batch dim"],
  targets: Float[Array, "batch dim"],
  triplets: Int[Array, "num 3"],
  block_rows: int = 0,
) -> Float[Array, ""]:
  """Mean of log(1 + exp(d(anchor, positive) - d(anchor, negative))), d the squared Euclidean distance.

  The soft triplet loss of Vo et al., CVPR 2019. `triplets` are rows of [composed; targets]: anchor, positive, negative.
  Expects features already on the sphere. `block_rows` above zero bounds how many triplets' vectors exist at a time, in
  the backward pass too; without, the [2 batch, 2 batch] inner products exist.
  """
  vectors = jnp.concatenate([composed, targets])

  def of_vectors(triplets):
    anchor, positive, negative = (vectors[triplets[:, i]] for i in range(3))
    difference = jnp.square(anchor - positive).sum(axis=-1) - jnp.square(anchor - negative).sum(axis=-1)
    return jax.nn.softplus(difference)

  if block_rows:
    return mean_in_blocks(of_vectors, (triplets,), block_rows)
  # From all inner products: |a - p|^2 - |a - n|^2 = (|p|^2 - 2 a.p) - (|n|^2 - 2 a.n).
  anchor, positive, negative = triplets.T
  products = _inner_products(vectors)
  distances = jnp.diagonal(products) - 2 * products  # but for |a|^2, which falls away
  return jax.nn.softplus(distances[anchor, positive] - distances[anchor, negative]).mean()


@jax.custom_vjp
def _inner_products(vectors: Float[Array, "rows dim"]) -> Float[Array, "rows rows"]:
  """Of each vector with each, so that the gradient too is one product, where autodiff has one for either factor."""
  # In full precision: TF32's error of 1e-3 is of products, and would be large for their differences.
  return jnp.matmul(vectors, vectors.T, precision=jax.lax.Precision.HIGHEST)


_inner_products.defvjp(
  lambda vectors: (_inner_products(vectors), vectors),
  lambda vectors, slopes: (jnp.matmul(slopes + slopes.T, vectors, precision=jax.lax.Precision.HIGHEST),),
)


LOSS = Loss(soft_triplet_loss, draws_triplets=True)
