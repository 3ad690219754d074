"""Parts that encoders of images and of texts share: attention, feed-forward layers, and the stack of them.

Vaswani et al., "Attention Is All You Need", NeurIPS 2017. Parameters, layer norms and softmax are float32; matrix
products and what runs between the layers are in `dtype`. Weights are zero until they are read from a file.
"""

from collections.abc import Iterable, Sequence
import dataclasses
import functools
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from composeret_jax.models.layers.dropout import Dropout, RowKeys
from composeret_jax.models.layers.fused_attention import cudnn_attends, fused_attention

ACTIVATIONS = {
  "gelu": lambda x: jax.nn.gelu(x, approximate=False),
  "gelu_new": jax.nn.gelu,
  "gelu_pytorch_tanh": jax.nn.gelu,
  "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
  "relu": jax.nn.relu,
}


@dataclasses.dataclass(frozen=True)
class Sizes:
  """The sizes of a stack of layers, under the names of a Hugging Face config.json."""

  hidden_size: int
  intermediate_size: int
  num_hidden_layers: int
  num_attention_heads: int
  hidden_act: str
  layer_norm_eps: float


@dataclasses.dataclass(frozen=True)
class Compute:
  """How a stack of layers is computed: in `dtype`; with `remat` again on the way back, to hold one layer at a time."""

  dtype: jnp.dtype = jnp.dtype("float32")
  remat: bool = False


DEFAULT_COMPUTE = Compute()


class Attention(nnx.Module):
  """Scaled dot-product attention with several heads."""

  def __init__(self, dim: int, num_heads: int, *, dropout_rate: float = 0.0, dtype, rngs: nnx.Rngs):
    self.query, self.key, self.value, self.out = (dense(dim, dim, dtype=dtype, rngs=rngs) for _ in range(4))
    self.num_heads = num_heads
    self.dropout = Dropout(dropout_rate)

  def __call__(
    self,
    states: Float[Array, "batch length dim"],
    mask: Bool[Array, "#batch 1 #queries length"] | None = None,
    *,
    causal: bool = False,
    queries: Float[Array, "batch queries dim"] | None = None,
    rngs: RowKeys | None = None,
  ) -> Float[Array, "batch queries dim"]:
    """The attention of `queries`, by default `states` themselves, to the `states` that `mask` shows.

    With `causal`, states see of these only themselves and those before them. `rngs` feeds dropout of the weights.
    """
    plain_self_attention = mask is None and queries is None and not self.dropout.acts
    queries = states if queries is None else queries
    query, key, value = (
      layer(rows).reshape(*rows.shape[:2], self.num_heads, -1)
      for layer, rows in ((self.query, queries), (self.key, states), (self.value, states))
    )
    if causal:
      before = causal_mask(states.shape[1])
      mask = before if mask is None else before & mask
    attended_by = functools.partial(self._attended, mask=mask, rngs=rngs)
    if plain_self_attention and cudnn_attends(query):
      by_cudnn = functools.partial(fused_attention, causal=causal)
      attended = jax.lax.platform_dependent(query, key, value, cuda=by_cudnn, default=attended_by)
    else:
      attended = attended_by(query, key, value)
    return self.out(attended.reshape(queries.shape))

  def _attended(self, query, key, value, *, mask, rngs):
    """Attention of arrays [batch, length, heads, dim]."""
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key, preferred_element_type=jnp.float32) * query.shape[-1] ** -0.5
    scores = scores if mask is None else jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    weights = self.dropout(jax.nn.softmax(scores), rngs=rngs)
    return jnp.einsum("bhqk,bkhd->bqhd", weights.astype(value.dtype), value)


def causal_mask(length: Any) -> Bool[Array, "1 1 length length"]:
  """Which states, along the last axis, those along the axis before it see: themselves and those before them.

  `length` is an int, or a size that an export leaves open.
  """
  positions = jnp.arange(length)
  return (positions[:, None] >= positions)[None, None]


class FeedForward(nnx.Module):
  """Two linear layers on each state, with an activation between them."""

  def __init__(self, sizes: Sizes, *, dtype, rngs: nnx.Rngs):
    self.widen = dense(sizes.hidden_size, sizes.intermediate_size, dtype=dtype, rngs=rngs)
    self.narrow = dense(sizes.intermediate_size, sizes.hidden_size, dtype=dtype, rngs=rngs)
    self.activation = sizes.hidden_act

  def __call__(self, states: Float[Array, "batch length dim"]) -> Float[Array, "batch length dim"]:
    """Returns what is added to the states."""
    return self.narrow(ACTIVATIONS[self.activation](self.widen(states)))


class PreNormLayer(nnx.Module):
  """Self-attention, then a feed-forward layer; each reads its input normalised, and is added to it.

  With `scaled`, each is multiplied by a vector of its own first (DINOv2's layer scale).
  """

  def __init__(self, sizes: Sizes, *, scaled: bool = False, dtype, rngs: nnx.Rngs):
    dim = sizes.hidden_size
    self.attention_norm = layer_norm(dim, sizes.layer_norm_eps, rngs=rngs)
    self.attention = Attention(dim, sizes.num_attention_heads, dtype=dtype, rngs=rngs)
    self.norm = layer_norm(dim, sizes.layer_norm_eps, rngs=rngs)
    self.feed_forward = FeedForward(sizes, dtype=dtype, rngs=rngs)
    self.attention_scale = nnx.Param(jnp.zeros(dim)) if scaled else None
    self.scale = nnx.Param(jnp.zeros(dim)) if scaled else None

  def __call__(
    self,
    states: Float[Array, "batch length dim"],
    mask: Bool[Array, "#batch 1 #length length"] | None = None,
    *,
    causal: bool = False,
  ) -> Float[Array, "batch length dim"]:
    """States see those that `mask` lets them see; with `causal`, of these themselves and those before them."""
    attended = self.attention(self.attention_norm(states), mask, causal=causal)
    states = states + _times(attended, self.attention_scale)
    return states + _times(self.feed_forward(self.norm(states)), self.scale)


def pre_norm_layers(sizes: Sizes, *, scaled: bool = False, dtype, rngs: nnx.Rngs) -> Sequence["PreNormLayer"]:
  """As many layers as `sizes` say."""
  return nnx.List([PreNormLayer(sizes, scaled=scaled, dtype=dtype, rngs=rngs) for _ in range(sizes.num_hidden_layers)])


def apply_layers(
  layers: Iterable[nnx.Module], states: Float[Array, "batch length dim"], *arguments, remat: bool, **options
) -> Float[Array, "batch length dim"]:
  """The states after all layers, each of which is called with the states and what follows."""
  for layer in layers:
    call = functools.partial(lambda layer, states: layer(states, *arguments, **options), layer)
    states = (jax.checkpoint(call) if remat else call)(states)
  return states


def _times(states: Float[Array, "batch length dim"], scale: nnx.Param | None) -> Float[Array, "batch length dim"]:
  return states if scale is None else states * scale[...].astype(states.dtype)


def dense(in_features: int, out_features: int, *, use_bias: bool = True, dtype, rngs: nnx.Rngs) -> nnx.Linear:
  """A linear layer that computes in `dtype`."""
  return nnx.Linear(
    in_features, out_features, use_bias=use_bias, dtype=dtype, kernel_init=nnx.initializers.zeros, rngs=rngs
  )


def layer_norm(dim: int, epsilon: float, *, rngs: nnx.Rngs) -> nnx.LayerNorm:
  """Normalises in float32, and returns that."""
  return nnx.LayerNorm(dim, epsilon=epsilon, dtype=jnp.float32, use_fast_variance=False, rngs=rngs)
