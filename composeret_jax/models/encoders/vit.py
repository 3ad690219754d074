"""Vision transformers: the image towers of CLIP, SigLIP and DINOv2, uint8 pixels to one feature an image.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, with the changes of each family.
"""

import dataclasses

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from composeret_jax.models.encoders.resnet import normalise
from composeret_jax.models.encoders.transformer import (
  apply_layers,
  Attention,
  Compute,
  dense,
  FeedForward,
  layer_norm,
  pre_norm_layers,
  Sizes,
)


@dataclasses.dataclass(frozen=True)
class VitConfig(Sizes):
  """Square images of `image_size` pixels in square patches; what is left at the right and below is not looked at."""

  image_size: int
  patch_size: int


@dataclasses.dataclass(frozen=True)
class Colours:
  """Mean and deviation of pixels in [0, 1], for red, green and blue."""

  mean: tuple[float, ...]
  std: tuple[float, ...]


class Embeddings(nnx.Module):
  """Patches through one linear layer, a token of the class in front where a family has it, and their positions."""

  def __init__(self, config: VitConfig, *, class_token: bool, patch_bias: bool, dtype, rngs: nnx.Rngs):
    dim = config.hidden_size
    self.patch_size = config.patch_size
    self.patches = dense(3 * config.patch_size**2, dim, use_bias=patch_bias, dtype=dtype, rngs=rngs)
    self.class_token = nnx.Param(jnp.zeros(dim)) if class_token else None
    num_patches = (config.image_size // config.patch_size) ** 2
    self.positions = nnx.Param(jnp.zeros((class_token + num_patches, dim)))

  def __call__(self, images: Float[Array, "batch height width 3"]) -> Float[Array, "batch length hidden"]:
    """Takes normalised images."""
    states = self.patches(cut_into_patches(images, self.patch_size))
    if self.class_token is not None:
      token = self.class_token[...].astype(states.dtype)
      states = jnp.concatenate([jnp.broadcast_to(token, (states.shape[0], 1, token.size)), states], axis=1)
    return states + self.positions[...].astype(states.dtype)


def cut_into_patches(
  images: Float[Array, "batch height width 3"], size: int
) -> Float[Array, "batch num_patches patch_values"]:
  """Patches row by row, the values of each in the order row, column, colour."""
  batch, height, width, _ = images.shape
  rows, columns = height // size, width // size
  cut = images[:, : rows * size, : columns * size].reshape(batch, rows, size, columns, size, 3)
  return cut.swapaxes(2, 3).reshape(batch, rows * columns, size * size * 3)


class Vit(nnx.Module):
  """The base class of all families; `__call__` gives the feature, in float32, from the states after the layers."""

  def __init__(
    self,
    config: VitConfig,
    colours: Colours,
    compute: Compute,
    *,
    class_token: bool,
    patch_bias: bool,
    input_normed: bool = False,
    scaled: bool = False,
    rngs: nnx.Rngs,
  ):
    self.colours = colours
    self.dtype, self.remat = compute.dtype, compute.remat
    self.input_norm = layer_norm(config.hidden_size, config.layer_norm_eps, rngs=rngs) if input_normed else None
    self.embeddings = Embeddings(config, class_token=class_token, patch_bias=patch_bias, dtype=compute.dtype, rngs=rngs)
    self.layers = pre_norm_layers(config, scaled=scaled, dtype=compute.dtype, rngs=rngs)
    self.norm = layer_norm(config.hidden_size, config.layer_norm_eps, rngs=rngs)
    self.feature_dim = config.hidden_size

  def features(self, pixels: UInt8[Array, "batch height width 3"]) -> Float[Array, "batch feature_dim"]:
    """As `__call__`: what a table of a frozen tower's features holds."""
    return self(pixels)

  def states(self, pixels: UInt8[Array, "batch height width 3"]) -> Float[Array, "batch length hidden"]:
    """After the last layer, not normalised."""
    return self.states_of(normalise(pixels, self.colours.mean, self.colours.std))

  def states_of(self, images: Float[Array, "batch height width 3"]) -> Float[Array, "batch length hidden"]:
    """The states of images whose pixels are normalised."""
    states = self.embeddings(images)
    if self.input_norm is not None:
      states = self.input_norm(states).astype(self.dtype)
    return apply_layers(self.layers, states, remat=self.remat)


class ClipVit(Vit):
  """CLIP's: a normalisation before the layers; the class token, normalised, through a projection without bias.

  Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021.
  """

  def __init__(self, config: VitConfig, projection_dim: int, colours: Colours, compute: Compute, *, rngs: nnx.Rngs):
    super().__init__(config, colours, compute, class_token=True, patch_bias=False, input_normed=True, rngs=rngs)
    self.projection = dense(config.hidden_size, projection_dim, use_bias=False, dtype=compute.dtype, rngs=rngs)
    self.feature_dim = projection_dim

  def __call__(self, pixels: UInt8[Array, "batch height width 3"]) -> Float[Array, "batch feature_dim"]:
    """Returns raw features, not on the sphere."""
    return self.projection(self.norm(self.states(pixels)[:, 0])).astype(jnp.float32)


class SiglipVit(Vit):
  """SigLIP's and SigLIP 2's: no class token; the normalised states are pooled by attention.

  Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023.
  """

  def __init__(self, config: VitConfig, colours: Colours, compute: Compute, *, rngs: nnx.Rngs):
    super().__init__(config, colours, compute, class_token=False, patch_bias=True, rngs=rngs)
    self.pool = AttentionPool(config, dtype=compute.dtype, rngs=rngs)

  def __call__(self, pixels: UInt8[Array, "batch height width 3"]) -> Float[Array, "batch feature_dim"]:
    """Returns raw features, not on the sphere."""
    return self.pool(self.norm(self.states(pixels))).astype(jnp.float32)


class AttentionPool(nnx.Module):
  """A learned query attends to all states; what it gets goes through a feed-forward layer, to which it is added."""

  def __init__(self, sizes: Sizes, *, dtype, rngs: nnx.Rngs):
    self.query = nnx.Param(jnp.zeros(sizes.hidden_size))
    self.attention = Attention(sizes.hidden_size, sizes.num_attention_heads, dtype=dtype, rngs=rngs)
    self.norm = layer_norm(sizes.hidden_size, sizes.layer_norm_eps, rngs=rngs)
    self.feed_forward = FeedForward(sizes, dtype=dtype, rngs=rngs)

  def __call__(self, states: Float[Array, "batch length hidden"]) -> Float[Array, "batch hidden"]:
    """One vector an image."""
    query = self.query[...]
    attended = self.attention(states, queries=jnp.broadcast_to(query, (states.shape[0], 1, query.size)))
    return (attended + self.feed_forward(self.norm(attended)))[:, 0]


class Dinov2Vit(Vit):
  """DINOv2's: layers with scales; the feature is the class token, normalised.

  Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", TMLR 2024.
  """

  def __init__(self, config: VitConfig, colours: Colours, compute: Compute, *, rngs: nnx.Rngs):
    super().__init__(config, colours, compute, class_token=True, patch_bias=True, scaled=True, rngs=rngs)

  def __call__(self, pixels: UInt8[Array, "batch height width 3"]) -> Float[Array, "batch feature_dim"]:
    """Returns raw features, not on the sphere."""
    return self.norm(self.states(pixels)[:, 0])
