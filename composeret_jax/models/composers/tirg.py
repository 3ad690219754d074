"""TIRG: a gate on the image feature, and a residual from image and text.

Vo et al., "Composing Text and Image for Image Retrieval - An Empirical Odyssey", CVPR 2019.
"""

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.models.composers.composer import Composer
from composeret_jax.models.layers.batch_norm import BatchNorm
from composeret_jax.models.layers.convolution import BiasedConv2d
from composeret_jax.models.layers.dropout import RowKeys
from composeret_jax.models.layers.linear import linear, NormedMlp


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


class TirgLastConv(Composer):
  """As TIRG at every place of a map, with 3x3 convolutions for linear layers and the text at every place."""

  composes_maps = True

  def __init__(self, map_dim: int, text_dim: int, *, rngs: nnx.Rngs):
    self.gate = NormedConvolutions(map_dim + text_dim, map_dim, rngs=rngs)
    self.residual = NormedConvolutions(map_dim + text_dim, map_dim, rngs=rngs)
    self.gate_weight = nnx.Param(jnp.array(1.0, jnp.float32))
    self.residual_weight = nnx.Param(jnp.array(10.0, jnp.float32))

  def __call__(
    self,
    maps: Float[Array, "batch height width map_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    rngs: RowKeys | None = None,
  ) -> Float[Array, "batch height width map_dim"]:
    """Returns the composed map; there is no dropout for `rngs` to feed."""
    texts = jnp.broadcast_to(text[:, None, None], (*maps.shape[:3], text.shape[-1]))
    both = jnp.concatenate([maps, texts], axis=-1)  # [batch, height, width, map_dim + text_dim]
    return self.gate_weight * nnx.sigmoid(self.gate(both)) * maps + self.residual_weight * self.residual(both)


class NormedConvolutions(nnx.Module):
  """Batch norm, 3x3 convolution, ReLU, 3x3 convolution."""

  def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs):
    self.norm = BatchNorm(in_features)
    self.hidden = BiasedConv2d(in_features, in_features, rngs=rngs)
    self.out = BiasedConv2d(in_features, out_features, rngs=rngs)

  def __call__(
    self, maps: Float[Array, "batch height width in_features"]
  ) -> Float[Array, "batch height width out_features"]:
    """Returns maps of the same size."""
    return self.out(nnx.relu(self.hidden(self.norm(maps))))
