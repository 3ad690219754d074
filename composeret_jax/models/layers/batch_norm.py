"""Batch normalisation with PyTorch's running statistics."""

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

EPSILON = 1e-5


RUNNING_STEP = 0.1  # how far the running averages move towards each batch


class BatchNorm(nnx.Module):
  """Normalises each channel (the last axis) over all other axes.

  Differs from nnx.BatchNorm in two ways that parity with PyTorch needs: the running variance is the unbiased
  estimate, and the batch variance is taken about the mean, which keeps its digits when the mean is large.
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
    x = inputs.astype(jnp.float32)
    if self.use_running_average:
      mean, var = self.mean[...], self.var[...]
    else:
      axes, count = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
      mean = x.mean(axes)
      if self.axis_name:
        mean, count = jax.lax.pmean(mean, self.axis_name), count * jax.lax.axis_size(self.axis_name)
      var = jnp.square(x - mean).mean(axes)
      var = jax.lax.pmean(var, self.axis_name) if self.axis_name else var
      unbiased = var * (count / max(count - 1, 1))
      self.mean[...] += RUNNING_STEP * (jax.lax.stop_gradient(mean) - self.mean[...])
      self.var[...] += RUNNING_STEP * (jax.lax.stop_gradient(unbiased) - self.var[...])
    factor = self.scale[...] * jax.lax.rsqrt(var + EPSILON)
    return ((x - mean) * factor + self.bias[...]).astype(inputs.dtype)


def each_way(norm: BatchNorm, inputs: Float[Array, "batch ways channels"]) -> Float[Array, "batch ways channels"]:
  """Each way's batch normalised by itself, one after the other, as by as many calls."""
  return jnp.stack([norm(inputs[:, way]) for way in range(inputs.shape[1])], axis=1)
