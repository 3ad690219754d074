"""ResNet image encoder as torchvision has it.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
"""

from collections.abc import Sequence
from typing import Any

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from composeret_jax.models.layers.batch_norm import BatchNorm
from composeret_jax.models.layers.convolution import Conv2d
from composeret_jax.models.layers.linear import linear

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class BasicBlock(nnx.Module):
  """Two 3x3 convolutions beside a shortcut."""

  expansion, num_convolutions = 1, 2

  def __init__(self, in_features: int, features: int, *, stride: int, dtype, rngs: nnx.Rngs):
    self.conv1 = Conv2d(in_features, features, 3, stride=stride, dtype=dtype, rngs=rngs)
    self.norm1 = BatchNorm(features)
    self.conv2 = Conv2d(features, features, 3, dtype=dtype, rngs=rngs)
    self.norm2 = BatchNorm(features)
    self.shortcut = shortcut(in_features, features, stride=stride, dtype=dtype, rngs=rngs)

  def __call__(self, maps: Float[Array, "batch height width in"]) -> Float[Array, "batch out_height out_width out"]:
    """Returns maps of `features` channels, smaller by `stride`."""
    residual = self.norm2(self.conv2(nnx.relu(self.norm1(self.conv1(maps)))))
    return nnx.relu(residual + (self.shortcut(maps) if self.shortcut else maps))


class BottleneckBlock(nnx.Module):
  """1x1, 3x3 and 1x1 convolutions beside a shortcut; the last widens fourfold. The stride is in the 3x3 ("v1.5")."""

  expansion, num_convolutions = 4, 3

  def __init__(self, in_features: int, features: int, *, stride: int, dtype, rngs: nnx.Rngs):
    out_features = self.expansion * features
    self.conv1 = Conv2d(in_features, features, 1, dtype=dtype, rngs=rngs)
    self.norm1 = BatchNorm(features)
    self.conv2 = Conv2d(features, features, 3, stride=stride, dtype=dtype, rngs=rngs)
    self.norm2 = BatchNorm(features)
    self.conv3 = Conv2d(features, out_features, 1, dtype=dtype, rngs=rngs)
    self.norm3 = BatchNorm(out_features)
    self.shortcut = shortcut(in_features, out_features, stride=stride, dtype=dtype, rngs=rngs)

  def __call__(self, maps: Float[Array, "batch height width in"]) -> Float[Array, "batch out_height out_width out"]:
    """Returns maps of 4 x `features` channels, smaller by `stride`."""
    narrow = nnx.relu(self.norm1(self.conv1(maps)))
    narrow = nnx.relu(self.norm2(self.conv2(narrow)))
    residual = self.norm3(self.conv3(narrow))
    return nnx.relu(residual + (self.shortcut(maps) if self.shortcut else maps))


BLOCKS = {"basic": BasicBlock, "bottleneck": BottleneckBlock}


def shortcut(in_features: int, features: int, *, stride: int, dtype, rngs: nnx.Rngs) -> "Shortcut | None":
  """Gives a block's input the shape of its residual; None where it has that shape."""
  if stride == 1 and in_features == features:
    return None
  return Shortcut(in_features, features, stride=stride, dtype=dtype, rngs=rngs)


class Shortcut(nnx.Module):
  """A strided 1x1 convolution that gives the shortcut the shape of the residual."""

  def __init__(self, in_features: int, features: int, *, stride: int, dtype, rngs: nnx.Rngs):
    self.conv = Conv2d(in_features, features, 1, stride=stride, dtype=dtype, rngs=rngs)
    self.norm = BatchNorm(features)

  def __call__(self, maps: Float[Array, "batch height width in"]) -> Float[Array, "batch out_height out_width out"]:
    """Returns maps of `features` channels, smaller by `stride`."""
    return self.norm(self.conv(maps))


class ResNet(nnx.Module):
  """uint8 pixels to one feature an image: trunk, global average pooling, one linear layer in place of the classifier.

  `width` is the first stage's; each further stage doubles it. `block` is a key of BLOCKS. ResNet-18 is width 64 with
  stages (2, 2, 2, 2) of basic blocks, ResNet-50 width 64 with stages (3, 4, 6, 3) of bottleneck blocks.
  The trunk computes in `dtype`; the feature is float32.
  """

  def __init__(
    self,
    *,
    width: int,
    stage_sizes: Sequence[int],
    feature_dim: int,
    block: str = "basic",
    dtype=jnp.float32,
    rngs: nnx.Rngs,
  ):
    self.trunk = Trunk(width=width, stage_sizes=stage_sizes, block=block, dtype=dtype, rngs=rngs)
    self.head = linear(self.trunk.feature_dim, feature_dim, rngs=rngs)
    self.feature_dim = feature_dim

  def __call__(self, pixels: UInt8[Array, "batch height width 3"]) -> Float[Array, "batch feature_dim"]:
    """Returns raw features, not on the sphere."""
    return self.pool(self.trunk(pixels))

  def pool(self, maps: Float[Array, "batch map_height map_width channels"]) -> Float[Array, "batch feature_dim"]:
    """From the trunk's map to the feature."""
    return self.head(maps.mean(axis=(1, 2)))


class Trunk(nnx.Module):
  """The convolutions of a ResNet: uint8 pixels to the last convolution's map, in float32."""

  def __init__(self, *, width: int, stage_sizes: Sequence[int], block: str, dtype, rngs: nnx.Rngs):
    self.stem = Conv2d(3, width, 7, stride=2, dtype=dtype, rngs=rngs)
    self.stem_norm = BatchNorm(width)
    block_class: Any = BLOCKS[block]
    blocks, channels = [], width
    for stage, num_blocks in enumerate(stage_sizes):
      for index in range(num_blocks):
        stride = 2 if stage > 0 and index == 0 else 1
        blocks.append(block_class(channels, width * 2**stage, stride=stride, dtype=dtype, rngs=rngs))
        channels = width * 2**stage * block_class.expansion
    self.blocks = nnx.List(blocks)
    self.stage_sizes = tuple(stage_sizes)
    self.feature_dim = channels

  def __call__(
    self, pixels: UInt8[Array, "batch height width 3"]
  ) -> Float[Array, "batch map_height map_width channels"]:
    """Returns maps 32 times smaller than the images, with four stages."""
    maps = self.stem_norm.relu_and_pool(self.stem(normalise(pixels)))
    for block in self.blocks:
      maps = block(maps)
    return maps.astype(jnp.float32)

  def features(self, pixels: UInt8[Array, "batch height width 3"]) -> Float[Array, "batch channels"]:
    """The mean of each image's map."""
    return self(pixels).mean(axis=(1, 2))


def normalise(
  pixels: UInt8[Array, "batch height width 3"],
  mean: Sequence[float] = IMAGENET_MEAN,
  std: Sequence[float] = IMAGENET_STD,
) -> Float[Array, "batch height width 3"]:
  """To [0, 1], then by the mean and the standard deviation of each colour."""
  return (pixels / 255.0 - jnp.array(mean)) / jnp.array(std)
