"""Batch normalisation with PyTorch's running statistics."""

from collections.abc import Callable

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.models.layers.batch_statistics import EPSILON, normalise_batch, NormalisedBatch, scaled_about
from composeret_jax.models.layers.max_pool import max_pool
from composeret_jax.models.layers.normalised_pool import normalise_relu_pool

RUNNING_STEP = 0.1  # how far the running averages move towards each batch


class BatchNorm(nnx.Module):
  """Normalises each channel (the last axis) over all other axes.

  Differs from nnx.BatchNorm in two ways that parity with PyTorch needs: the running variance is the unbiased
  estimate, and the batch variance is taken about a mean, which keeps its digits when the mean is large: about the
  batch's own on a CPU, elsewhere about the running one.
  Statistics are taken over the array that it sees: under jit over a mesh, over the global batch. Where a device sees
  its own rows only, `axis_name` names the mapped axis over which they are averaged.
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
    return self._normalised(inputs, normalise_batch, lambda outputs: outputs)

  def relu_and_pool(
    self, maps: Float[Array, "batch height width channels"]
  ) -> Float[Array, "batch half_height half_width channels"]:
    """ReLU of the normalised maps and the maxima of their 3x3 windows, two apart, padded by one."""
    return self._normalised(maps, normalise_relu_pool, lambda outputs: max_pool(nnx.relu(outputs)))

  def _normalised(
    self, inputs: Array, by_batch: Callable[..., NormalisedBatch], then: Callable[[Array], Array]
  ) -> Array:
    """`by_batch` in training; otherwise by the running averages, and `then`."""
    scale, bias = self.scale[...], self.bias[...]
    if self.use_running_average:
      return then(scaled_about(inputs, self.mean[...], scale * jax.lax.rsqrt(self.var[...] + EPSILON), bias))
    normalised = by_batch(inputs, scale, bias, self.mean[...], self.axis_name)
    count = inputs.size // inputs.shape[-1] * (jax.lax.axis_size(self.axis_name) if self.axis_name else 1)
    unbiased = normalised.var * (count / max(count - 1, 1))
    self.mean[...] += RUNNING_STEP * (normalised.mean - self.mean[...])
    self.var[...] += RUNNING_STEP * (unbiased - self.var[...])
    return normalised.outputs


def each_way(norm: BatchNorm, inputs: Float[Array, "batch ways channels"]) -> Float[Array, "batch ways channels"]:
  """Each way's batch normalised by itself, one after the other, as by as many calls."""
  return jnp.stack([norm(inputs[:, way]) for way in range(inputs.shape[1])], axis=1)
