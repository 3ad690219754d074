"""BERT (Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers", NAACL 2019), pooled to one feature."""

import dataclasses
from typing import NamedTuple

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from composeret_jax.models.encoders.transformer import (
  ACTIVATIONS,
  apply_layers,
  Attention,
  Compute,
  DEFAULT_COMPUTE,
  dense,
  layer_norm,
)
from composeret_jax.models.layers.dropout import Dropout, RowKeys


class Pooling(NamedTuple):
  """Pools the states before the last `num_skipped_layers` layers: their mean, the first token, or both."""

  num_skipped_layers: int
  mean: bool
  first_token: bool


POOLINGS = {
  "second_to_last_mean": Pooling(1, mean=True, first_token=False),  # what BERT-as-service returned
  "last_mean": Pooling(0, mean=True, first_token=False),
  "cls": Pooling(0, mean=False, first_token=True),
  "last_mean_and_cls": Pooling(0, mean=True, first_token=True),
}


@dataclasses.dataclass(frozen=True)
class BertConfig:
  """The fields of a Hugging Face config.json that say what a BERT computes, and their defaults there."""

  vocab_size: int = 30_522
  hidden_size: int = 768
  num_hidden_layers: int = 12
  num_attention_heads: int = 12
  intermediate_size: int = 3_072
  hidden_act: str = "gelu"
  hidden_dropout_prob: float = 0.1
  attention_probs_dropout_prob: float = 0.1
  max_position_embeddings: int = 512
  type_vocab_size: int = 2
  layer_norm_eps: float = 1e-12


class Bert(nnx.Module):
  """Word-piece ids to one feature a text: embeddings, layers, and the pooling called `pooling`, a key of POOLINGS.

  Has only the layers that the pooling reads. Weights are zero until they are read from a file. The feature is float32.
  """

  reads = "tokens"

  def __init__(self, config: BertConfig, pooling: str, compute: Compute = DEFAULT_COMPUTE, *, rngs: nnx.Rngs):
    self.pooling = POOLINGS[pooling]
    self.embeddings = Embeddings(config, rngs=rngs)
    num_layers = config.num_hidden_layers - self.pooling.num_skipped_layers
    self.layers = nnx.List([Layer(config, compute.dtype, rngs=rngs) for _ in range(num_layers)])
    self.remat = compute.remat
    self.feature_dim = config.hidden_size * (self.pooling.mean + self.pooling.first_token)

  def __call__(
    self, tokens: Int[Array, "batch length"], *, rngs: RowKeys | None = None
  ) -> Float[Array, "batch feature_dim"]:
    """Negative ids are padding at the end; each text has a token. `rngs` feeds dropout, in training mode only."""
    inside = tokens >= 0
    states = self.embeddings(jnp.maximum(tokens, 0), rngs=rngs)
    states = apply_layers(self.layers, states, inside[:, None, None], remat=self.remat, rngs=rngs)
    parts = [masked_mean(states, inside)] if self.pooling.mean else []
    parts += [states[:, 0]] if self.pooling.first_token else []
    return jnp.concatenate(parts, axis=-1)


def masked_mean(
  states: Float[Array, "batch length dim"], inside: Bool[Array, "batch length"]
) -> Float[Array, "batch dim"]:
  """The mean over the positions that are `inside`."""
  weights = inside / inside.sum(axis=1, keepdims=True)
  return jnp.einsum("bl,bld->bd", weights, states)


class Embeddings(nnx.Module):
  """Word piece plus position plus the type of a first sentence, normalised."""

  def __init__(self, config: BertConfig, *, rngs: nnx.Rngs):
    self.words = nnx.Param(jnp.zeros((config.vocab_size, config.hidden_size)))
    self.positions = nnx.Param(jnp.zeros((config.max_position_embeddings, config.hidden_size)))
    self.types = nnx.Param(jnp.zeros((config.type_vocab_size, config.hidden_size)))
    self.norm = layer_norm(config.hidden_size, config.layer_norm_eps, rngs=rngs)
    self.dropout = Dropout(config.hidden_dropout_prob)

  def __call__(
    self, tokens: Int[Array, "batch length"], *, rngs: RowKeys | None = None
  ) -> Float[Array, "batch length hidden"]:
    """`rngs` feeds dropout."""
    embedded = self.words[tokens] + self.positions[: tokens.shape[1]] + self.types[0]
    return self.dropout(self.norm(embedded), rngs=rngs)


class Layer(nnx.Module):
  """Self-attention, then two linear layers on each token; each is added to its input and normalised."""

  def __init__(self, config: BertConfig, dtype, *, rngs: nnx.Rngs):
    dim, rate = config.hidden_size, config.attention_probs_dropout_prob
    self.attention = Attention(dim, config.num_attention_heads, dropout_rate=rate, dtype=dtype, rngs=rngs)
    self.attention_norm = layer_norm(dim, config.layer_norm_eps, rngs=rngs)
    self.widen = dense(dim, config.intermediate_size, dtype=dtype, rngs=rngs)
    self.narrow = dense(config.intermediate_size, dim, dtype=dtype, rngs=rngs)
    self.norm = layer_norm(dim, config.layer_norm_eps, rngs=rngs)
    self.activation = config.hidden_act
    self.dropout = Dropout(config.hidden_dropout_prob)

  def __call__(
    self,
    states: Float[Array, "batch length hidden"],
    mask: Bool[Array, "batch 1 1 length"],
    *,
    rngs: RowKeys | None = None,
  ) -> Float[Array, "batch length hidden"]:
    """Tokens attend to tokens in the `mask` only; `rngs` feeds dropout."""
    attended = self.attention(states, mask, rngs=rngs)
    states = self.attention_norm(states + self.dropout(attended, rngs=rngs))
    wide = ACTIVATIONS[self.activation](self.widen(states))
    return self.norm(states + self.dropout(self.narrow(wide), rngs=rngs))
