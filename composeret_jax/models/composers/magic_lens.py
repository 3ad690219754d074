"""MagicLens: image and text as two tokens through a small transformer, pooled by one learned query.

Zhang et al., "MagicLens: Self-Supervised Image Retrieval with Open-Ended Instructions", ICML 2024. An image of
the gallery goes the same way as a query, with the empty text. Logits l of every attention are capped, 50 tanh(l / 50).
"""

from typing import ClassVar

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.models.composers.composer import Composer
from composeret_jax.models.layers.dropout import RowKeys
from composeret_jax.models.layers.linear import ToWidth
from data_pipelines.field_rules import whole_number
from data_pipelines.input_error import InputError

LOGIT_CAP = 50.0
WIDENING = 4  # of the feed-forward layers and of the pooling attention
SOFTPLUS_SCALE = 1.442695041  # 1 / softplus(0), as published


class MagicLens(Composer):
  """`num_layers` pre-norm layers of `num_heads` heads over [image, text], then attention pooling.

  A text of another width is brought to the image's by a linear layer first.
  """

  composes_targets = True
  options: ClassVar = {"num_layers": whole_number(1), "num_heads": whole_number(1)}

  def __init__(self, image_dim: int, text_dim: int, *, num_layers: int = 4, num_heads: int = 8, rngs: nnx.Rngs):
    """Raises InputError where the heads cannot have equal parts of `image_dim`."""
    if image_dim % num_heads:
      raise InputError(
        f"features of images have {image_dim} numbers, expected a multiple of "
        f"config.model.composer_options.num_heads = {num_heads}"
      )
    self.to_image_width = ToWidth(text_dim, image_dim, rngs=rngs)
    self.layers = nnx.List([FusionLayer(image_dim, num_heads, rngs=rngs) for _ in range(num_layers)])
    self.pool = AttentionPooler(image_dim, num_heads, rngs=rngs)

  def __call__(
    self,
    image: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    rngs: RowKeys | None = None,
  ) -> Float[Array, "batch image_dim"]:
    """Returns the composed feature; there is no dropout for `rngs` to feed."""
    tokens = jnp.stack([image, self.to_image_width(text)], axis=1)
    for layer in self.layers:
      tokens = layer(tokens)
    return self.pool(tokens)


class FusionLayer(nnx.Module):
  """Self-attention, then two linear layers with a ReLU between; each reads its input normalised, and is added to it."""

  def __init__(self, dim: int, num_heads: int, *, rngs: nnx.Rngs):
    self.attention_norm = ShiftedScaleNorm(dim)
    self.attention = CappedAttention(dim, dim, num_heads, rngs=rngs)
    self.norm = ShiftedScaleNorm(dim)
    self.widen = projection(dim, WIDENING * dim, rngs=rngs)
    self.narrow = projection(WIDENING * dim, dim, rngs=rngs)

  def __call__(self, tokens: Float[Array, "batch length dim"]) -> Float[Array, "batch length dim"]:
    """Tokens see all tokens of their row."""
    normed = self.attention_norm(tokens)
    tokens = tokens + self.attention(normed, normed)
    return tokens + self.narrow(nnx.relu(self.widen(self.norm(tokens))))


class AttentionPooler(nnx.Module):
  """A learned query attends to all tokens, which are not normalised; what it gets is."""

  def __init__(self, dim: int, num_heads: int, *, rngs: nnx.Rngs):
    self.query = nnx.Param(nnx.initializers.xavier_normal()(rngs.params(), (1, dim), jnp.float32))
    self.attention = CappedAttention(dim, WIDENING * dim, num_heads, scales_each=True, rngs=rngs)
    self.norm = ShiftedScaleNorm(dim)

  def __call__(self, tokens: Float[Array, "batch length dim"]) -> Float[Array, "batch dim"]:
    """One vector a row."""
    queries = jnp.broadcast_to(self.query[...], (tokens.shape[0], *self.query.shape))
    return self.norm(self.attention(queries, tokens))[:, 0]


class CappedAttention(nnx.Module):
  """Attention of several heads over `inner_dim`, with capped logits.

  The query is divided by the root of a head's width; with `scales_each` each of its numbers also has a factor that is
  learned, the softplus of a parameter.
  """

  def __init__(self, dim: int, inner_dim: int, num_heads: int, *, scales_each: bool = False, rngs: nnx.Rngs):
    self.query, self.key, self.value = (projection(dim, inner_dim, rngs=rngs) for _ in range(3))
    self.out = projection(inner_dim, dim, rngs=rngs)
    self.num_heads = num_heads
    self.per_dim_scale = nnx.Param(jnp.ones(inner_dim // num_heads)) if scales_each else None

  def __call__(
    self, queries: Float[Array, "batch queries dim"], states: Float[Array, "batch length dim"]
  ) -> Float[Array, "batch queries dim"]:
    """The attention of `queries` to `states`."""
    attended = jnp.einsum("bhqk,bkhd->bqhd", self.weights(queries, states), self._heads(self.value(states)))
    return self.out(attended.reshape(*attended.shape[:2], -1))

  def weights(
    self, queries: Float[Array, "batch queries dim"], states: Float[Array, "batch length dim"]
  ) -> Float[Array, "batch heads queries length"]:
    """How much of each state each head of each query takes; sums to 1 over the states."""
    query, key = self._heads(self.query(queries)), self._heads(self.key(states))
    query = query * query.shape[-1] ** -0.5
    if self.per_dim_scale is not None:
      query = query * SOFTPLUS_SCALE * jax.nn.softplus(self.per_dim_scale[...])
    logits = jnp.einsum("bqhd,bkhd->bhqk", query, key)
    return jax.nn.softmax(LOGIT_CAP * jnp.tanh(logits / LOGIT_CAP))

  def _heads(self, rows: Float[Array, "batch length inner"]) -> Float[Array, "batch length heads head_dim"]:
    return rows.reshape(*rows.shape[:2], self.num_heads, -1)


class ShiftedScaleNorm(nnx.Module):
  """Layer norm whose factor is 1 + scale; scales start at 1, as published."""

  def __init__(self, dim: int):
    self.scale = nnx.Param(jnp.ones(dim))
    self.bias = nnx.Param(jnp.zeros(dim))

  def __call__(self, rows: Float[Array, "batch length dim"]) -> Float[Array, "batch length dim"]:
    """Normalises each row by its own mean and variance."""
    centred = rows - rows.mean(axis=-1, keepdims=True)
    variance = jnp.square(centred).mean(axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + 1e-6) * (1 + self.scale[...]) + self.bias[...]


def projection(in_features: int, out_features: int, *, rngs: nnx.Rngs) -> nnx.Linear:
  """A linear layer whose weights start as Glorot and Bengio's."""
  return nnx.Linear(in_features, out_features, kernel_init=nnx.initializers.xavier_normal(), rngs=rngs)
