"""Fully connected layers, initialised as PyTorch initialises them (the published systems never did otherwise)."""

from flax import nnx
import jax
from jaxtyping import Array, Float

from composeret_jax.models.layers.batch_norm import BatchNorm, each_way
from composeret_jax.models.layers.dropout import Dropout, RowKeys


def torch_linear_init(fan_in: int) -> jax.nn.initializers.Initializer:
  """Uniform within +-1/sqrt(fan_in): what torch.nn.Linear and torch.nn.Conv1d draw for weights and biases."""
  bound = fan_in**-0.5

  def init(key, shape, dtype=jax.numpy.float32, out_sharding=None):
    return jax.random.uniform(key, shape, dtype, -bound, bound, out_sharding=out_sharding)

  return init


def linear(in_features: int, out_features: int, *, rngs: nnx.Rngs) -> nnx.Linear:
  """A linear layer with bias and PyTorch's initial weights."""
  init = torch_linear_init(in_features)
  return nnx.Linear(in_features, out_features, kernel_init=init, bias_init=init, rngs=rngs)


class Mlp(nnx.Module):
  """Linear, dropout, ReLU, linear. Dropout comes before the ReLU, as ComposeAE has it."""

  def __init__(self, in_features: int, hidden: int, out_features: int, *, dropout_rate: float = 0.0, rngs: nnx.Rngs):
    self.hidden = linear(in_features, hidden, rngs=rngs)
    self.dropout = Dropout(dropout_rate)
    self.out = linear(hidden, out_features, rngs=rngs)

  def __call__(
    self, inputs: Float[Array, "batch *ways in_features"], *, rngs: RowKeys | None = None
  ) -> Float[Array, "batch *ways out_features"]:
    """`rngs` feeds dropout and is only read in training mode."""
    # Linear layers get two dimensions: of more, XLA transposes their inputs for the weights' gradient.
    hidden = self.hidden(inputs.reshape(-1, inputs.shape[-1])).reshape(*inputs.shape[:-1], -1)
    hidden = nnx.relu(self.dropout(hidden, rngs=rngs))
    return self.out(hidden.reshape(-1, hidden.shape[-1])).reshape(*inputs.shape[:-1], -1)


class NormedMlp(nnx.Module):
  """Batch norm, ReLU, linear, ReLU, linear."""

  def __init__(self, in_features: int, hidden: int, out_features: int, *, rngs: nnx.Rngs):
    self.norm = BatchNorm(in_features)
    self.mlp = Mlp(in_features, hidden, out_features, rngs=rngs)

  def __call__(self, inputs: Float[Array, "batch *ways in_features"]) -> Float[Array, "batch *ways out_features"]:
    """Returns what the last layer gives; where there are ways, their batches are normalised apart."""
    normed = self.norm(inputs) if inputs.ndim == 2 else each_way(self.norm, inputs)
    return self.mlp(nnx.relu(normed))


class ToWidth(nnx.Module):
  """A linear layer where the widths differ, and nothing where they agree."""

  def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs):
    self.layer = linear(in_features, out_features, rngs=rngs) if in_features != out_features else None

  def __call__(self, inputs: Float[Array, "batch in_features"]) -> Float[Array, "batch out_features"]:
    """Returns `inputs` themselves where the widths agree."""
    return self.layer(inputs) if self.layer else inputs
