"""Baselines: the image alone, the text alone, their sum, and the concatenation of Vo et al., CVPR 2019."""

from typing import ClassVar

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.models.composers.composer import Composer
from composeret_jax.models.layers.batch_norm import BatchNorm
from composeret_jax.models.layers.dropout import Dropout, RowKeys
from composeret_jax.models.layers.linear import linear, ToWidth
from composeret_jax.models.layers.sphere import to_sphere
from data_pipelines.field_rules import boolean, NOT_NEGATIVE


class Concat(Composer):
  """Image and text side by side, then twice batch norm, ReLU, linear, with dropout before the second linear layer."""

  def __init__(self, image_dim: int, text_dim: int, *, rngs: nnx.Rngs):
    both_dim = image_dim + text_dim
    self.norm = BatchNorm(both_dim)
    self.hidden = linear(both_dim, both_dim, rngs=rngs)
    self.hidden_norm = BatchNorm(both_dim)
    self.dropout = Dropout(0.1)
    self.out = linear(both_dim, image_dim, rngs=rngs)

  def __call__(
    self,
    image: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    rngs: RowKeys | None = None,
  ) -> Float[Array, "batch image_dim"]:
    """Returns the composed feature; `rngs` feeds dropout and is only read in training mode."""
    both = jnp.concatenate([image, text], axis=-1)
    hidden = self.hidden(nnx.relu(self.norm(both)))
    return self.out(self.dropout(nnx.relu(self.hidden_norm(hidden)), rngs=rngs))


class ImageOnly(Composer):
  """The reference image's feature, unchanged: it shows what can be found without reading the text."""

  def __init__(self, image_dim: int, text_dim: int, *, rngs: nnx.Rngs):
    """Learns nothing of its own, whatever the widths."""

  def __call__(
    self,
    image: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    rngs: RowKeys | None = None,
  ) -> Float[Array, "batch image_dim"]:
    """Returns the image feature; there is no dropout for `rngs` to feed."""
    return image


class Sum(Composer):
  """image + text_weight * text, the text brought to the image's width by a linear layer where the widths differ.

  With `normalise` both are brought to length 1 first: what needs no training where encoders share one space.
  """

  options: ClassVar = {"normalise": boolean, "text_weight": NOT_NEGATIVE}

  def __init__(
    self, image_dim: int, text_dim: int, *, normalise: bool = False, text_weight: float = 1.0, rngs: nnx.Rngs
  ):
    self.to_image_width = ToWidth(text_dim, image_dim, rngs=rngs)
    self.normalise = normalise
    self.text_weight = text_weight

  def __call__(
    self,
    image: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    rngs: RowKeys | None = None,
  ) -> Float[Array, "batch image_dim"]:
    """Returns the composed feature; there is no dropout for `rngs` to feed."""
    text = self.to_image_width(text)
    if self.normalise:
      image, text = to_sphere(image), to_sphere(text)
    return image + self.text_weight * text


class TextOnly(Composer):
  """The text's feature, brought to the image's width by a linear layer where the widths differ."""

  def __init__(self, image_dim: int, text_dim: int, *, rngs: nnx.Rngs):
    self.to_image_width = ToWidth(text_dim, image_dim, rngs=rngs)

  def __call__(
    self,
    image: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    rngs: RowKeys | None = None,
  ) -> Float[Array, "batch image_dim"]:
    """Returns the text feature; there is no dropout for `rngs` to feed."""
    return self.to_image_width(text)
