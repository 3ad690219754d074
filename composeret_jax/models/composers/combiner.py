"""The Combiner of CLIP4Cir: a gate between image and text, which share one space, and a residual from both."""

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.models.composers.composer import Composer
from composeret_jax.models.layers.dropout import CoinDropout, RowKeys
from composeret_jax.models.layers.linear import linear, ToWidth


class Combiner(Composer):
  """residual + gate * text + (1 - gate) * image, the gate one number in (0, 1) for each query.

  Image and text are each projected to four times the image's width; both together, eight times as wide, go to the gate
  and to the residual through a hidden layer of that width. Dropout 0.5 follows every ReLU.
  A text of another width is brought to the image's by a linear layer first.
  """

  def __init__(self, image_dim: int, text_dim: int, *, rngs: nnx.Rngs):
    self.to_image_width = ToWidth(text_dim, image_dim, rngs=rngs)
    self.image_projection = HalvedRelu(image_dim, 4 * image_dim, rngs=rngs)
    self.text_projection = HalvedRelu(image_dim, 4 * image_dim, rngs=rngs)
    self.residual_hidden = HalvedRelu(8 * image_dim, 8 * image_dim, rngs=rngs)
    self.residual = linear(8 * image_dim, image_dim, rngs=rngs)
    self.gate_hidden = HalvedRelu(8 * image_dim, 8 * image_dim, rngs=rngs)
    self.gate = linear(8 * image_dim, 1, rngs=rngs)

  def __call__(
    self,
    image: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    rngs: RowKeys | None = None,
  ) -> Float[Array, "batch image_dim"]:
    """Returns the composed feature; `rngs` feeds dropout and is only read in training mode."""
    text = self.to_image_width(text)
    projections = self.image_projection(image, rngs=rngs), self.text_projection(text, rngs=rngs)
    both = jnp.concatenate(projections, axis=-1)
    gate = nnx.sigmoid(self.gate(self.gate_hidden(both, rngs=rngs)))  # [batch, 1]
    return self.residual(self.residual_hidden(both, rngs=rngs)) + gate * text + (1 - gate) * image


class HalvedRelu(nnx.Module):
  """Linear, ReLU, dropout of one half."""

  def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs):
    self.layer = linear(in_features, out_features, rngs=rngs)
    self.dropout = CoinDropout()

  def __call__(
    self, inputs: Float[Array, "batch in_features"], *, rngs: RowKeys | None
  ) -> Float[Array, "batch out_features"]:
    """`rngs` feeds dropout and is only read in training mode."""
    return self.dropout(nnx.relu(self.layer(inputs)), rngs=rngs)
