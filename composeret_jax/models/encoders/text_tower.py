"""The text towers of CLIP and SigLIP: token ids to one feature a text."""

import dataclasses
from typing import NamedTuple

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from composeret_jax.models.encoders.transformer import apply_layers, Compute, dense, layer_norm, pre_norm_layers, Sizes
from composeret_jax.models.layers.dropout import RowKeys

# What CLIP's first configurations call the end's id; it is no such id, and the largest id of a text is meant.
NO_END = 2


@dataclasses.dataclass(frozen=True)
class TextTowerConfig(Sizes):
  """The sizes of a text tower, under the names of a Hugging Face config.json."""

  vocab_size: int
  max_position_embeddings: int


class Replacement(NamedTuple):
  """A word for each text, in place of the words of some of its tokens: those at which `at` is true."""

  words: Float[Array, "batch hidden"]
  at: Bool[Array, "batch length"]


class TextTower(nnx.Module):
  """The base class of both families; `__call__` of each gives its feature, in float32, from the normalised states."""

  reads = "tokens"
  needs_padding = False

  def __init__(self, config: TextTowerConfig, compute: Compute, *, rngs: nnx.Rngs):
    self.dtype, self.remat = compute.dtype, compute.remat
    self.embeddings = Embeddings(config)
    self.layers = pre_norm_layers(config, dtype=compute.dtype, rngs=rngs)
    self.norm = layer_norm(config.hidden_size, config.layer_norm_eps, rngs=rngs)

  def states(
    self,
    tokens: Int[Array, "batch length"],
    mask: Bool[Array, "batch 1 1 length"] | None = None,
    *,
    causal: bool,
    replaced: Replacement | None = None,
  ) -> Float[Array, "batch length hidden"]:
    """After the layers, normalised.

    Tokens see the tokens in the `mask`; with `causal`, only themselves and earlier ones.
    """
    embedded = self.embeddings(jnp.maximum(tokens, 0), replaced).astype(self.dtype)
    return self.norm(apply_layers(self.layers, embedded, mask, causal=causal, remat=self.remat))


class Embeddings(nnx.Module):
  """Token plus position."""

  def __init__(self, config: TextTowerConfig):
    self.words = nnx.Param(jnp.zeros((config.vocab_size, config.hidden_size)))
    self.positions = nnx.Param(jnp.zeros((config.max_position_embeddings, config.hidden_size)))

  def __call__(
    self, tokens: Int[Array, "batch length"], replaced: Replacement | None = None
  ) -> Float[Array, "batch length hidden"]:
    """Takes no negative ids."""
    words = self.words[tokens]
    if replaced is not None:
      words = jnp.where(replaced.at[..., None], replaced.words[:, None], words)
    return words + self.positions[: tokens.shape[1]]


class ClipText(TextTower):
  """CLIP's: tokens see those before them; the state at a text's end, through a projection without bias.

  The end is the first `end_id`, or with NO_END the first of the text's largest id. Where `unseen_id` is not None, no
  token sees tokens with that id.
  """

  def __init__(self, config: TextTowerConfig, projection_dim: int, end_id: int, compute: Compute, *, rngs: nnx.Rngs):
    super().__init__(config, compute, rngs=rngs)
    self.end_id = end_id
    self.unseen_id: int | None = None
    self.projection = dense(config.hidden_size, projection_dim, use_bias=False, dtype=compute.dtype, rngs=rngs)
    self.feature_dim = projection_dim

  def __call__(
    self, tokens: Int[Array, "batch length"], *, replaced: Replacement | None = None, rngs: RowKeys | None = None
  ) -> Float[Array, "batch feature_dim"]:
    """Negative ids are padding at the end. Has no dropout to feed."""
    mask = None if self.unseen_id is None else (tokens != self.unseen_id)[:, None, None]
    states = self.states(tokens, mask, causal=True, replaced=replaced)
    ends = jnp.argmax(tokens if self.end_id == NO_END else tokens == self.end_id, axis=1)
    at_end = jnp.take_along_axis(states, ends[:, None, None], axis=1)[:, 0]
    return self.projection(at_end).astype(jnp.float32)


class SiglipText(TextTower):
  """SigLIP's and SigLIP 2's: all tokens see each other, padding too; the last state, through a linear layer.

  So texts come padded to one length, with the tokenizer's own token.
  """

  needs_padding = True

  def __init__(self, config: TextTowerConfig, projection_dim: int, compute: Compute, *, rngs: nnx.Rngs):
    super().__init__(config, compute, rngs=rngs)
    self.projection = dense(config.hidden_size, projection_dim, dtype=compute.dtype, rngs=rngs)
    self.feature_dim = projection_dim

  def __call__(
    self, tokens: Int[Array, "batch length"], *, replaced: Replacement | None = None, rngs: RowKeys | None = None
  ) -> Float[Array, "batch feature_dim"]:
    """Has no dropout to feed."""
    states = self.states(tokens, causal=False, replaced=replaced)
    return self.projection(states[:, -1]).astype(jnp.float32)
