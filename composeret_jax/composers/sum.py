"""Sum of image and text feature, the simplest way to compose."""

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.composers.composer import Composer
from composeret_jax.layers.dropout import RowKeys
from composeret_jax.layers.linear import ToWidth


class Sum(Composer):
  """image + text_weight * text, the text brought to the image's width by a linear layer where the widths differ.

  With `normalise` both are brought to length 1 first: what needs no training where encoders share one space.
  """

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
      image, text = unit_length(image), unit_length(text)
    return image + self.text_weight * text


def unit_length(features: Float[Array, "batch dim"]) -> Float[Array, "batch dim"]:
  """Features divided by their lengths; a zero feature stays zero."""
  squared_norm = jnp.square(features).sum(axis=-1, keepdims=True)
  return features * jax.lax.rsqrt(jnp.maximum(squared_norm, jnp.finfo(jnp.float32).tiny))
