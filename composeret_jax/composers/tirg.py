"""TIRG: a gate on the image feature, and a residual from image and text.

Vo et al., "Composing Text and Image for Image Retrieval - An Empirical Odyssey", CVPR 2019.
"""

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.composers.composer import Composer
from composeret_jax.layers.batch_norm import BatchNorm
from composeret_jax.layers.dropout import RowKeys
from composeret_jax.layers.linear import linear, NormedMlp


class Tirg(Composer):
  """gate_weight * sigmoid(gate) * image + residual_weight * residual; the learned scalars start at 1 and 10."""

  def __init__(self, image_dim: int, text_dim: int, *, rngs: nnx.Rngs):
    self.gate_norm = BatchNorm(image_dim + text_dim)
    self.gate = linear(image_dim + text_dim, image_dim, rngs=rngs)
    self.residual = NormedMlp(image_dim + text_dim, image_dim + text_dim, image_dim, rngs=rngs)
    self.gate_weight = nnx.Param(jnp.array(1.0, jnp.float32))
    self.residual_weight = nnx.Param(jnp.array(10.0, jnp.float32))

  def __call__(
    self,
    image: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    rngs: RowKeys | None = None,
  ) -> Float[Array, "batch image_dim"]:
    """Returns the composed feature; there is no dropout for `rngs` to feed."""
    both = jnp.concatenate([image, text], axis=-1)
    gate = nnx.sigmoid(self.gate(nnx.relu(self.gate_norm(both))))
    return self.gate_weight * gate * image + self.residual_weight * self.residual(both)
