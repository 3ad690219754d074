"""ComposeAE: the text turns the image feature in the complex plane, and an autoencoder learns to compose it.

Anwaar, Labintcev and Kleinsteuber, "Compositional Learning of Image-Text Query for Image Retrieval", WACV 2021.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.models.composers.composer import Composer
from composeret_jax.models.layers.batch_norm import BatchNorm, each_way
from composeret_jax.models.layers.dropout import RowKeys
from composeret_jax.models.layers.linear import Mlp, NormedMlp
from composeret_jax.models.layers.pooled_convolution import PooledConv1d


class AutoencoderComposer(Composer):
  """Adds up a linear and a convolutional path, and decodes both inputs from the sum again.

  `linear_weight` and `conv_weight` are the learned scalars that start at 10 and 1.
  """

  losses: ClassVar[tuple[str, ...]] = ("main", "image_reconstruction", "text_reconstruction")

  def __init__(self, linear_path: Any, conv_path: Any, *, image_dim: int, text_dim: int, rngs: nnx.Rngs):
    self.linear_path = linear_path
    self.conv_path = conv_path
    self.linear_weight = nnx.Param(jnp.array(10.0, jnp.float32))
    self.conv_weight = nnx.Param(jnp.array(1.0, jnp.float32))
    self.image_decoder = NormedMlp(image_dim, image_dim, image_dim, rngs=rngs)
    self.text_decoder = NormedMlp(image_dim, text_dim, text_dim, rngs=rngs)

  def decode_image(
    self, composed: Float[Array, "batch image_dim"], text: Float[Array, "batch text_dim"]
  ) -> Float[Array, "batch image_dim"]:
    """Rebuilds the image feature that was composed; the text is not read."""
    return self.image_decoder(composed)

  def decode_text(self, composed: Float[Array, "batch image_dim"]) -> Float[Array, "batch text_dim"]:
    """Rebuilds the text feature that was composed."""
    return self.text_decoder(composed)


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
    return self._turn(image[:, None], text, (-1.0 if conjugate else 1.0,), rngs)[:, 0]

  def both_ways(
    self,
    reference: Float[Array, "batch image_dim"],
    target: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    rngs: RowKeys | None = None,
  ) -> tuple[Float[Array, "batch image_dim"], Float[Array, "batch image_dim"]]:
    """The reference composed, and the target turned back: two calls in one, which take each matrix once.

    Batch norm sees references and targets apart, references first.
    """
    turned = self._turn(jnp.stack([reference, target], axis=1), text, (1.0, -1.0), rngs)
    return turned[:, 0], turned[:, 1]

  def _turn(self, images, text, signs, rngs):
    linear = self.linear_path(images, text, signs, rngs=rngs)
    return self.linear_weight * linear + self.conv_weight * self.conv_path(images, text, signs, rngs=rngs)


class Rotation(nnx.Module):
  """r exp(i d): magnitude r from the image and angle d from the text, each through its own two-layer network."""

  def __init__(self, image_dim: int, text_dim: int, *, rngs: nnx.Rngs):
    self.image_norm = BatchNorm(image_dim)
    self.magnitude = Mlp(image_dim, image_dim, image_dim, dropout_rate=0.5, rngs=rngs)
    self.text_norm = BatchNorm(text_dim)
    self.angle = Mlp(text_dim, image_dim, image_dim, rngs=rngs)

  def __call__(
    self,
    images: Float[Array, "batch ways image_dim"],
    text: Float[Array, "batch text_dim"],
    signs: Sequence[float],
    *,
    rngs: RowKeys | None,
  ) -> tuple[Float[Array, "batch ways image_dim"], ...]:
    """Returns magnitude, angle, real part and imaginary part; `signs` has the last one's sign for each way."""
    magnitude = self.magnitude(each_way(self.image_norm, images), rngs=rngs)
    # The text's running averages move once for each way; XLA computes the same numbers once.
    for _ in signs:
      normed_text = self.text_norm(text)
    angle = jnp.stack([self.angle(normed_text)] * len(signs), axis=1)
    sign = jnp.array(signs)[:, None]
    return magnitude, angle, magnitude * jnp.cos(angle), sign * magnitude * jnp.sin(angle)


class LinearPath(nnx.Module):
  """Real and imaginary part through a two-layer network."""

  def __init__(self, image_dim: int, text_dim: int, *, rngs: nnx.Rngs):
    self.rotation = Rotation(image_dim, text_dim, rngs=rngs)
    self.mapping = NormedMlp(2 * image_dim, image_dim, image_dim, rngs=rngs)

  def __call__(
    self,
    images: Float[Array, "batch ways image_dim"],
    text: Float[Array, "batch text_dim"],
    signs: Sequence[float],
    *,
    rngs: RowKeys | None,
  ) -> Float[Array, "batch ways image_dim"]:
    """Returns this path's share of the composed feature."""
    _, _, re, im = self.rotation(images, text, signs, rngs=rngs)
    return self.mapping(jnp.concatenate([re, im], axis=-1))


class ConvolutionalPath(nnx.Module):
  """Magnitude, angle, image, real and imaginary part as five channels of a signal, convolved and pooled."""

  NUM_CHANNELS = 64
  POOLED_LENGTH = 16

  def __init__(self, image_dim: int, text_dim: int, *, rngs: nnx.Rngs):
    self.rotation = Rotation(image_dim, text_dim, rngs=rngs)
    self.conv = PooledConv1d(5, self.NUM_CHANNELS, self.POOLED_LENGTH, rngs=rngs)
    self.mapping = NormedMlp(self.NUM_CHANNELS * self.POOLED_LENGTH, image_dim, image_dim, rngs=rngs)

  def __call__(
    self,
    images: Float[Array, "batch ways image_dim"],
    text: Float[Array, "batch text_dim"],
    signs: Sequence[float],
    *,
    rngs: RowKeys | None,
  ) -> Float[Array, "batch ways image_dim"]:
    """Returns this path's share of the composed feature."""
    magnitude, angle, re, im = self.rotation(images, text, signs, rngs=rngs)
    signals = jnp.stack([magnitude, angle, images, re, im])  # [5, batch, ways, image_dim]
    pooled = self.conv(signals.reshape(5, -1, signals.shape[-1]))  # [64, batch * ways, 16]
    channels_first = pooled.swapaxes(0, 1)  # as the original flattens
    return self.mapping(channels_first.reshape(*images.shape[:2], -1))


class RealSpaceConcatAE(AutoencoderComposer):
  """Image and text side by side, through a two-layer network and as a signal that is convolved and pooled."""

  def __init__(self, image_dim: int, text_dim: int, *, rngs: nnx.Rngs):
    linear_path = NormedMlp(image_dim + text_dim, image_dim, image_dim, rngs=rngs)
    conv_path = SignalPath(image_dim, rngs=rngs)
    super().__init__(linear_path, conv_path, image_dim=image_dim, text_dim=text_dim, rngs=rngs)

  def __call__(
    self,
    image: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    rngs: RowKeys | None = None,
  ) -> Float[Array, "batch image_dim"]:
    """Returns the composed feature; there is no dropout for `rngs` to feed."""
    both = jnp.concatenate([image, text], axis=-1)
    return self.linear_weight * self.linear_path(both) + self.conv_weight * self.conv_path(both)


class SignalPath(nnx.Module):
  """A signal of any length, convolved, pooled to twenty places, and mapped."""

  NUM_CHANNELS = 64
  POOLED_LENGTH = 20

  def __init__(self, out_features: int, *, rngs: nnx.Rngs):
    self.conv = PooledConv1d(1, self.NUM_CHANNELS, self.POOLED_LENGTH, rngs=rngs)
    self.mapping = NormedMlp(self.NUM_CHANNELS * self.POOLED_LENGTH, out_features, out_features, rngs=rngs)

  def __call__(self, signals: Float[Array, "batch length"]) -> Float[Array, "batch out_features"]:
    """Returns this path's share of the composed feature."""
    pooled = self.conv(signals[None])  # [64, batch, 20]
    channels_first = pooled.swapaxes(0, 1)  # as the original flattens
    return self.mapping(channels_first.reshape(signals.shape[0], -1))
