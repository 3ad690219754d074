"""RealSpaceConcatAE: ComposeAE's autoencoder without the rotation, its ablation.

Anwaar, Labintcev and Kleinsteuber, "Compositional Learning of Image-Text Query for Image Retrieval", WACV 2021.
"""

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.composers.autoencoder import AutoencoderComposer
from composeret_jax.layers.dropout import RowKeys
from composeret_jax.layers.linear import NormedMlp
from composeret_jax.layers.pooled_convolution import PooledConv1d


class RealSpaceConcatAE(AutoencoderComposer):
  """Image and text side by side, through a two-layer network and as a signal that is convolved and pooled."""

  def __init__(self, image_dim: int, text_dim: int, *, rngs: nnx.Rngs):
    linear_path = NormedMlp(image_dim + text_dim, image_dim, image_dim, rngs=rngs)
    conv_path = ConvolutionalPath(image_dim, rngs=rngs)
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
    return self.weighted_sum(self.linear_path(both), self.conv_path(both))


class ConvolutionalPath(nnx.Module):
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
