"""A pretrained text encoder with our own linear layer behind it, and the table that stands for one that is frozen."""

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8
import numpy as np

from composeret_jax.models.encoders.encoder import ImageEncoder, TextEncoder
from composeret_jax.models.encoders.text_tower import Replacement
from composeret_jax.models.layers.dropout import RowKeys
from composeret_jax.models.layers.linear import linear


class Frozen(nnx.Variable):
  """An array that no step changes: neither trained nor kept in checkpoints."""


def freeze(module: nnx.Module) -> None:
  """From now on no step changes the parameters of the module and of its parts."""
  for _, part in nnx.iter_modules(module):
    for name, value in list(vars(part).items()):
      if isinstance(value, nnx.Param):
        setattr(part, name, Frozen(value[...]))


class FeatureTable(nnx.Module):
  """The features of texts that were encoded beforehand: a row number to the row."""

  reads = "text_rows"

  def __init__(self, features: Float[np.ndarray, "num_texts feature_dim"]):
    self.features = Frozen(features)
    self.feature_dim = features.shape[1]

  def __call__(self, rows: Int[Array, " batch"], *, rngs: RowKeys | None = None) -> Float[Array, "batch feature_dim"]:
    """Has no dropout to feed."""
    return jnp.asarray(self.features[...])[rows]


class ProjectedTextEncoder(nnx.Module):
  """A text encoder that brings its weights with it, the trunk, and a trained linear layer to `projection_dim`.

  Without the linear layer, at `projection_dim` 0, features are the trunk's.
  """

  def __init__(self, trunk: TextEncoder, projection_dim: int, *, rngs: nnx.Rngs):
    self.trunk = trunk
    self.projection = linear(trunk.feature_dim, projection_dim, rngs=rngs) if projection_dim else None
    self.feature_dim = projection_dim or trunk.feature_dim
    self.reads = trunk.reads

  def __call__(
    self, texts: Int[Array, "batch ..."], *, replaced: Replacement | None = None, rngs: RowKeys | None = None
  ) -> Float[Array, "batch feature_dim"]:
    """`texts` is what the trunk reads, with words that a tower takes in place of its own; `rngs` feeds dropout."""
    words = {} if replaced is None else {"replaced": replaced}
    features = self.trunk(texts, rngs=rngs, **words)
    return self.projection(features) if self.projection else features


class ProjectedImageEncoder(nnx.Module):
  """A tower, the trunk, and a trained linear layer to `feature_dim`; without it, at 0, features are the trunk's."""

  def __init__(self, trunk: ImageEncoder, feature_dim: int, *, rngs: nnx.Rngs):
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
