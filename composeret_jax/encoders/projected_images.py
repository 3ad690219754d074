"""An image tower with our own linear layer behind it, and what stands for one that is frozen."""

from flax import nnx
from jaxtyping import Array, Float, UInt8

from composeret_jax.layers.linear import linear


class ProjectedImageEncoder(nnx.Module):
  """A tower, the trunk, and a trained linear layer to `feature_dim`; without it, at 0, features are the trunk's."""

  def __init__(self, trunk: nnx.Module, feature_dim: int, *, rngs: nnx.Rngs):
    self.trunk = trunk
    self.head = linear(trunk.feature_dim, feature_dim, rngs=rngs) if feature_dim else None
    self.feature_dim = feature_dim or trunk.feature_dim

  def __call__(self, pixels: UInt8[Array, "batch height width 3"]) -> Float[Array, "batch feature_dim"]:
    """Returns raw features, not on the sphere."""
    features = self.trunk(pixels)
    return self.head(features) if self.head else features


class FrozenTrunkHead(nnx.Module):
  """The trained linear layer alone, where the trunk is frozen and images come as its features; none at 0."""

  def __init__(self, trunk_dim: int, feature_dim: int, *, rngs: nnx.Rngs):
    self.head = linear(trunk_dim, feature_dim, rngs=rngs) if feature_dim else None
    self.feature_dim = feature_dim or trunk_dim

  def __call__(self, features: Float[Array, "batch trunk_dim"]) -> Float[Array, "batch feature_dim"]:
    """Returns raw features, not on the sphere."""
    return self.head(features) if self.head else features
