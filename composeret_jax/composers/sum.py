"""Sum of image and text feature, the simplest way to compose."""

from flax import nnx
from jaxtyping import Array, Float

from composeret_jax.composers.composer import Composer
from composeret_jax.layers.dropout import RowKeys
from composeret_jax.layers.linear import ToWidth


class Sum(Composer):
  """image + text, the text brought to the image's width by a linear layer where the widths differ."""

  def __init__(self, image_dim: int, text_dim: int, *, rngs: nnx.Rngs):
    self.to_image_width = ToWidth(text_dim, image_dim, rngs=rngs)

  def __call__(
    self,
    image: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    rngs: RowKeys | None = None,
  ) -> Float[Array, "batch image_dim"]:
    """Returns the composed feature; there is no dropout for `rngs` to feed."""
    return image + self.to_image_width(text)
