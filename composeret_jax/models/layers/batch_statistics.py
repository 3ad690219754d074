"""A batch normalised by its own mean and variance, with the gradient that is the fast one on its platform."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from composeret_jax.models.layers.bound import bound

EPSILON = 1e-5


class NormalisedBatch(NamedTuple):
  """A normalised batch, and the statistics that normalised it, through which no gradient flows."""

  outputs: Float[Array, "*batch channels"]
  mean: Float[Array, " channels"]
  var: Float[Array, " channels"]  # the mean square about the mean


def normalise_batch(
  inputs: Float[Array, "*batch channels"],
  scale: Float[Array, " channels"],
  bias: Float[Array, " channels"],
  expected_mean: Float[Array, " channels"],
  axis_name: str | None = None,
) -> NormalisedBatch:
  """Normalises each channel over all other axes, and over the devices of the mapped axis `axis_name`.

  Outputs have the dtype of `inputs`; statistics and arithmetic are float32. A GPU and a TPU run
  `with_own_gradient`, which reads memory less often; a CPU runs `in_two_reads`, which is faster there.
  """
  return jax.lax.platform_dependent(
    inputs,
    scale,
    bias,
    expected_mean,
    cpu=bound(in_two_reads, axis_name),
    default=bound(with_own_gradient, axis_name),
  )


def in_two_reads(
  inputs: Float[Array, "*batch channels"],
  scale: Float[Array, " channels"],
  bias: Float[Array, " channels"],
  expected_mean: Float[Array, " channels"],
  axis_name: str | None,
) -> NormalisedBatch:
  """The variance is taken about the mean, which keeps its digits however large the mean is."""
  x = inputs.astype(jnp.float32)
  mean = _mean(x, axis_name)
  var = _mean(jnp.square(x - mean), axis_name)
  outputs = scaled_about(inputs, mean, scale * jax.lax.rsqrt(var + EPSILON), bias)
  return NormalisedBatch(outputs, *jax.lax.stop_gradient((mean, var)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def with_own_gradient(
  inputs: Float[Array, "*batch channels"],
  scale: Float[Array, " channels"],
  bias: Float[Array, " channels"],
  expected_mean: Float[Array, " channels"],
  axis_name: str | None,
) -> NormalisedBatch:
  """Reads `inputs` once for both statistics, and twice for the gradient, which is written in closed form.

  The mean square about `expected_mean` less the square of the mean's distance from it is the variance: its relative
  error is the error of float32 times 1 + distance**2 / variance.
  """
  return _forward(inputs, scale, bias, expected_mean, axis_name)[0]


def mean_and_var(
  inputs: Float[Array, "*batch channels"], expected_mean: Float[Array, " channels"], axis_name: str | None
) -> tuple[Float[Array, " channels"], Float[Array, " channels"]]:
  """Both from one read of `inputs`."""
  offsets = inputs.astype(jnp.float32) - expected_mean
  distance, mean_square = _mean((offsets, jnp.square(offsets)), axis_name)
  return expected_mean + distance, jnp.maximum(mean_square - jnp.square(distance), 0)


def _forward(inputs, scale, bias, expected_mean, axis_name):
  mean, var = mean_and_var(inputs, expected_mean, axis_name)
  inverse_deviation = jax.lax.rsqrt(var + EPSILON)
  outputs = scaled_about(inputs, mean, scale * inverse_deviation, bias)
  return NormalisedBatch(outputs, mean, var), (inputs, scale, mean, inverse_deviation)


def _backward(axis_name, kept, gradients):
  """The inputs' gradient from the outputs' g: scale / deviation * (g - mean(g) - normalised * mean(g * normalised)).

  Sums for the scale and the bias are of a device's own rows: the step averages parameters' gradients over devices.
  """
  inputs, scale, mean, inverse_deviation = kept
  gradient = gradients[0].astype(jnp.float32)
  normalised = (inputs.astype(jnp.float32) - mean) * inverse_deviation
  axes = tuple(range(inputs.ndim - 1))
  by_bias, by_scale = gradient.sum(axes), (gradient * normalised).sum(axes)
  count = inputs.size // inputs.shape[-1]
  mean_gradient, mean_product = over_devices((by_bias / count, by_scale / count), axis_name)
  by_inputs = scale * inverse_deviation * (gradient - mean_gradient - normalised * mean_product)
  return by_inputs.astype(inputs.dtype), by_scale, by_bias, jnp.zeros_like(mean)


with_own_gradient.defvjp(_forward, _backward)


def scaled_about(
  inputs: Float[Array, "*batch channels"],
  mean: Float[Array, " channels"],
  factor: Float[Array, " channels"],
  bias: Float[Array, " channels"],
) -> Float[Array, "*batch channels"]:
  """(inputs - mean) * factor + bias in float32, in the dtype of `inputs`."""
  return ((inputs.astype(jnp.float32) - mean) * factor + bias).astype(inputs.dtype)


def _mean(arrays, axis_name):
  """The mean of each array over all axes but the last and over devices."""
  means = jax.tree.map(lambda array: array.mean(tuple(range(array.ndim - 1))), arrays)
  return over_devices(means, axis_name)


def over_devices(means: PyTree[Float[Array, " channels"]], axis_name: str | None) -> PyTree[Float[Array, " channels"]]:
  """The mean over the devices of the mapped axis, or the same without one."""
  return jax.lax.pmean(means, axis_name) if axis_name else means
