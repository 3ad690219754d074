"""Batch normalisation with PyTorch's running statistics."""

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.models.layers.batch_statistics import EPSILON, normalise_batch, scaled_about

RUNNING_STEP = 0.1  # how far the running averages move towards each batch


class BatchNorm(nnx.Module):
  """Normalises each channel (the last axis) over all other axes.

  Differs from nnx.BatchNorm in two ways that parity with PyTorch needs: the running variance is the unbiased
  estimate, and the batch variance is taken about a mean, which keeps its digits when the mean is large: about the
  batch's own on a CPU, elsewhere about the running one.
  Statistics are those of the array that it sees: under jit over a mesh, of the global batch. Where a device sees its
  own rows only, `axis_name` names the mapped axis over which they are averaged.
  """

  def __init__(self, num_features: int):
    self.scale = nnx.Param(jnp.ones(num_features))
    self.bias = nnx.Param(jnp.zeros(num_features))
    self.mean = nnx.BatchStat(jnp.zeros(num_features))
    self.var = nnx.BatchStat(jnp.ones(num_features))
    self.use_running_average = False  # set by nnx.Module.train() and eval()
    self.axis_name: str | None = None  # set by nnx.Module.set_attributes()

  def __call__(self, inputs: Float[Array, "*batch channels"]) -> Float[Array, "*batch channels"]:
    """Keeps the dtype of `inputs`; statistics and arithmetic are float32."""
    scale, bias = self.scale[...], self.bias[...]
    if self.use_running_average:
      return scaled_about(inputs, self.mean[...], scale * jax.lax.rsqrt(self.var[...] + EPSILON), bias)
    normalised = normalise_batch(inputs, scale, bias, self.mean[...], self.axis_name)
    count = inputs.size // inputs.shape[-1] * (jax.lax.axis_size(self.axis_name) if self.axis_name else 1)
    unbiased = normalised.var * (count / max(count - 1, 1))
    self.mean[...] += RUNNING_STEP * (normalised.mean - self.mean[...])
    self.var[...] += RUNNING_STEP * (unbiased - self.var[...])
    return normalised.outputs


def each_way(norm: BatchNorm, inputs: Float[Array, "batch ways channels"]) -> Float[Array, "batch ways channels"]:
  """Each way's batch normalised by itself, one after the other, as by as many calls."""
  return jnp.stack([norm(inputs[:, way]) for way in range(inputs.shape[1])], axis=1)
