"""Image only, a baseline of Vo et al., "Composing Text and Image for Image Retrieval", CVPR 2019."""

from flax import nnx
from jaxtyping import Array, Float

from composeret_jax.composers.composer import Composer
from composeret_jax.layers.dropout import RowKeys


class ImageOnly(Composer):
  """The reference image's feature as it is: what can be found without reading the text."""

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
