"""Concatenation, a baseline of Vo et al., "Composing Text and Image for Image Retrieval", CVPR 2019."""

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.composers.composer import Composer
from composeret_jax.layers.batch_norm import BatchNorm
from composeret_jax.layers.dropout import Dropout, RowKeys
from composeret_jax.layers.linear import linear


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
