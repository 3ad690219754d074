"""What ComposeAE and its real-space ablation share: two paths from image and text to one feature, and two decoders."""

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.composers.composer import Composer
from composeret_jax.layers.linear import NormedMlp


class AutoencoderComposer(Composer):
  """Adds up a linear and a convolutional path, and decodes both inputs from the sum again.

  `linear_weight` and `conv_weight` are the learned scalars that start at 10 and 1.
  """

  losses = ("main", "image_reconstruction", "text_reconstruction")

  def __init__(self, linear_path: nnx.Module, conv_path: nnx.Module, *, image_dim: int, text_dim: int, rngs: nnx.Rngs):
    self.linear_path = linear_path
    self.conv_path = conv_path
    self.linear_weight = nnx.Param(jnp.array(10.0, jnp.float32))
    self.conv_weight = nnx.Param(jnp.array(1.0, jnp.float32))
    self.image_decoder = NormedMlp(image_dim, image_dim, image_dim, rngs=rngs)
    self.text_decoder = NormedMlp(image_dim, text_dim, text_dim, rngs=rngs)

  def weighted_sum(
    self, linear: Float[Array, "batch *ways image_dim"], convolutional: Float[Array, "batch *ways image_dim"]
  ) -> Float[Array, "batch *ways image_dim"]:
    """The composed feature, from what the two paths give."""
    return self.linear_weight * linear + self.conv_weight * convolutional

  def decode_image(
    self, composed: Float[Array, "batch image_dim"], text: Float[Array, "batch text_dim"]
  ) -> Float[Array, "batch image_dim"]:
    """Rebuilds the image feature that was composed; the text is not read."""
    return self.image_decoder(composed)

  def decode_text(self, composed: Float[Array, "batch image_dim"]) -> Float[Array, "batch text_dim"]:
    """Rebuilds the text feature that was composed."""
    return self.text_decoder(composed)
