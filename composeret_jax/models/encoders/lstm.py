"""LSTM text encoder, as TIRG's: word embeddings, one LSTM layer, the output at each text's last word, linear."""

import functools

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from composeret_jax.models.layers.dropout import Dropout, RowKeys
from composeret_jax.models.layers.linear import linear, torch_linear_init


class LstmTextEncoder(nnx.Module):
  """Word ids to one feature a text. Id 0 stands for unknown words; negative ids are padding at the end."""

  reads = "tokens"

  def __init__(
    self, *, vocabulary_size: int, embedding_dim: int, feature_dim: int, dropout_rate: float = 0.1, rngs: nnx.Rngs
  ):
    self.embedding = nnx.Param(jax.random.normal(rngs.params(), (vocabulary_size, embedding_dim)))
    self.lstm = Lstm(embedding_dim, feature_dim, rngs=rngs)
    self.dropout = Dropout(dropout_rate)
    self.head = linear(feature_dim, feature_dim, rngs=rngs)
    self.feature_dim = feature_dim

  def __call__(
    self, tokens: Int[Array, "batch length"], *, rngs: RowKeys | None = None
  ) -> Float[Array, "batch feature_dim"]:
    """`rngs` feeds dropout and is only read in training mode. A text without words counts as one unknown word."""
    lengths = jnp.maximum((tokens >= 0).sum(axis=1), 1)
    words = self.embedding[jnp.maximum(tokens, 0)]
    return self.head(self.dropout(self.lstm(words, lengths), rngs=rngs))


class Lstm(nnx.Module):
  """One LSTM layer. As in PyTorch the gates are in the order input, forget, cell, output, with two biases each."""

  def __init__(self, in_features: int, hidden: int, *, rngs: nnx.Rngs):
    init = torch_linear_init(hidden)
    self.input_kernel = nnx.Param(init(rngs.params(), (in_features, 4 * hidden)))
    self.hidden_kernel = nnx.Param(init(rngs.params(), (hidden, 4 * hidden)))
    self.input_bias = nnx.Param(init(rngs.params(), (4 * hidden,)))
    self.hidden_bias = nnx.Param(init(rngs.params(), (4 * hidden,)))

  def __call__(
    self, inputs: Float[Array, "batch length in"], lengths: Int[Array, " batch"]
  ) -> Float[Array, "batch hidden"]:
    """Returns the output at position `lengths - 1` of each row."""
    batch, hidden_dim = inputs.shape[0], self.hidden_kernel.shape[0]
    hidden_kernel = self.hidden_kernel[...]
    gates_from_input = inputs @ self.input_kernel[...] + self.input_bias[...] + self.hidden_bias[...]

    def step(carry, xs):
      hidden, cell = carry
      gates, position = xs
      i, f, g, o = jnp.split(gates + hidden @ hidden_kernel, 4, axis=-1)
      new_cell = nnx.sigmoid(f) * cell + nnx.sigmoid(i) * jnp.tanh(g)
      new_hidden = nnx.sigmoid(o) * jnp.tanh(new_cell)
      inside = (position < lengths)[:, None]
      return (jnp.where(inside, new_hidden, hidden), jnp.where(inside, new_cell, cell)), None

    def last_hidden(gates, unroll):
      zeros, positions = jnp.zeros((batch, hidden_dim)), jnp.arange(inputs.shape[1])
      return jax.lax.scan(step, (zeros, zeros), (gates.swapaxes(0, 1), positions), unroll=unroll)[0][0]

    # Four steps in one turn of the loop start half as many of a GPU's kernels; a CPU is slower by it. A program that is
    # exported for any length cannot tell how many turns these are.
    num_at_once = 4 if isinstance(inputs.shape[1], int) else 1
    return jax.lax.platform_dependent(
      gates_from_input,
      cpu=functools.partial(last_hidden, unroll=1),
      default=functools.partial(last_hidden, unroll=num_at_once),
    )
