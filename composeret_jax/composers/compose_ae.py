"""ComposeAE: the text turns the image feature in the complex plane, and an autoencoder learns to compose it.

Anwaar, Labintcev and Kleinsteuber, "Compositional Learning of Image-Text Query for Image Retrieval", WACV 2021.
"""

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.composers.autoencoder import AutoencoderComposer
from composeret_jax.layers.batch_norm import BatchNorm
from composeret_jax.layers.convolution import adaptive_max_pool, Conv1d
from composeret_jax.layers.dropout import RowKeys
from composeret_jax.layers.linear import Mlp, NormedMlp


class ComposeAE(AutoencoderComposer):
  """Composes along a linear and a convolutional path, each with a rotation of its own."""

  losses = (*AutoencoderComposer.losses, "rotational_symmetry")

  def __init__(self, image_dim: int, text_dim: int, *, rngs: nnx.Rngs):
    linear_path = LinearPath(image_dim, text_dim, rngs=rngs)
    conv_path = ConvolutionalPath(image_dim, text_dim, rngs=rngs)
    super().__init__(linear_path, conv_path, image_dim=image_dim, text_dim=text_dim, rngs=rngs)

  def __call__(
    self,
    image: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    conjugate: bool = False,
    rngs: RowKeys | None = None,
  ) -> Float[Array, "batch image_dim"]:
    """Returns the composed feature. `conjugate` turns the other way, which undoes the text; `rngs` feeds dropout."""
    linear = self.linear_path(image, text, conjugate=conjugate, rngs=rngs)
    convolutional = self.conv_path(image, text, conjugate=conjugate, rngs=rngs)
    return self.weighted_sum(linear, convolutional)


class Rotation(nnx.Module):
  """r exp(i d): magnitude r from the image and angle d from the text, each through its own two-layer network."""

  def __init__(self, image_dim: int, text_dim: int, *, rngs: nnx.Rngs):
    self.image_norm = BatchNorm(image_dim)
    self.magnitude = Mlp(image_dim, image_dim, image_dim, dropout_rate=0.5, rngs=rngs)
    self.text_norm = BatchNorm(text_dim)
    self.angle = Mlp(text_dim, image_dim, image_dim, rngs=rngs)

  def __call__(
    self,
    image: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    conjugate: bool,
    rngs: RowKeys | None,
  ) -> tuple[Float[Array, "batch image_dim"], ...]:
    """Returns magnitude, angle, real part and imaginary part; `conjugate` flips the sign of the last."""
    magnitude = self.magnitude(self.image_norm(image), rngs=rngs)
    angle = self.angle(self.text_norm(text))
    sign = -1.0 if conjugate else 1.0
    return magnitude, angle, magnitude * jnp.cos(angle), sign * magnitude * jnp.sin(angle)


class LinearPath(nnx.Module):
  """Real and imaginary part through a two-layer network."""

  def __init__(self, image_dim: int, text_dim: int, *, rngs: nnx.Rngs):
    self.rotation = Rotation(image_dim, text_dim, rngs=rngs)
    self.mapping = NormedMlp(2 * image_dim, image_dim, image_dim, rngs=rngs)

  def __call__(
    self,
    image: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    conjugate: bool,
    rngs: RowKeys | None,
  ) -> Float[Array, "batch image_dim"]:
    """Returns this path's share of the composed feature."""
    _, _, re, im = self.rotation(image, text, conjugate=conjugate, rngs=rngs)
    return self.mapping(jnp.concatenate([re, im], axis=-1))


class ConvolutionalPath(nnx.Module):
  """Magnitude, angle, image, real and imaginary part as five channels of a signal, convolved and pooled."""

  NUM_CHANNELS = 64
  POOLED_LENGTH = 16

  def __init__(self, image_dim: int, text_dim: int, *, rngs: nnx.Rngs):
    self.rotation = Rotation(image_dim, text_dim, rngs=rngs)
    self.conv = Conv1d(5, self.NUM_CHANNELS, rngs=rngs)
    self.mapping = NormedMlp(self.NUM_CHANNELS * self.POOLED_LENGTH, image_dim, image_dim, rngs=rngs)

  def __call__(
    self,
    image: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    conjugate: bool,
    rngs: RowKeys | None,
  ) -> Float[Array, "batch image_dim"]:
    """Returns this path's share of the composed feature."""
    magnitude, angle, re, im = self.rotation(image, text, conjugate=conjugate, rngs=rngs)
    signals = jnp.stack([magnitude, angle, image, re, im], axis=-1)  # [batch, image_dim, 5]
    pooled = adaptive_max_pool(self.conv(signals), self.POOLED_LENGTH)  # [batch, 16, 64]
    return self.mapping(
      pooled.swapaxes(1, 2).reshape(image.shape[0], -1)
    )  # channel by channel, as the original flattens
