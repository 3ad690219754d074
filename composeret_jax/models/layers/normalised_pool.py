"""Batch norm, ReLU and max-pool of a ResNet's stem, whose maps are the largest of all, as one function.

The gradient that comes from the pool is zero but at one place of each window: it is computed from the windows wherever
it is needed, and no gradient of the normalised maps is written to memory.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.models.layers.batch_statistics import (
  EPSILON,
  in_two_reads,
  mean_and_var,
  NormalisedBatch,
  over_devices,
  scaled_about,
)
from composeret_jax.models.layers.bound import bound
from composeret_jax.models.layers.max_pool import (
  largest_in_windows,
  max_of_slices,
  spread_to_places,
  to_even_sides,
)


def normalise_relu_pool(
  inputs: Float[Array, "batch height width channels"],
  scale: Float[Array, " channels"],
  bias: Float[Array, " channels"],
  expected_mean: Float[Array, " channels"],
  axis_name: str | None = None,
) -> NormalisedBatch:
  """`normalise_batch`, then the largest positive value of 3x3 windows, two apart; on a CPU one after the other."""
  return jax.lax.platform_dependent(
    inputs,
    scale,
    bias,
    expected_mean,
    cpu=bound(one_after_the_other, axis_name),
    default=bound(in_one, axis_name),
  )


def one_after_the_other(
  inputs: Float[Array, "batch height width channels"],
  scale: Float[Array, " channels"],
  bias: Float[Array, " channels"],
  expected_mean: Float[Array, " channels"],
  axis_name: str | None,
) -> NormalisedBatch:
  """The three functions one after the other, for a CPU."""
  normalised = in_two_reads(inputs, scale, bias, expected_mean, axis_name)
  return normalised._replace(outputs=max_of_slices(jax.nn.relu(normalised.outputs)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def in_one(
  inputs: Float[Array, "batch height width channels"],
  scale: Float[Array, " channels"],
  bias: Float[Array, " channels"],
  expected_mean: Float[Array, " channels"],
  axis_name: str | None,
) -> NormalisedBatch:
  """Keeps the place of each window's maximum, in eight bits."""
  return _forward(inputs, scale, bias, expected_mean, axis_name)[0]


def _forward(inputs, scale, bias, expected_mean, axis_name):
  mean, var = mean_and_var(inputs, expected_mean, axis_name)
  inverse_deviation = jax.lax.rsqrt(var + EPSILON)
  normalised = to_even_sides(scaled_about(inputs, mean, scale * inverse_deviation, bias))
  largest, places = largest_in_windows(normalised)
  pooled = jax.nn.relu(largest)
  return NormalisedBatch(pooled, mean, var), (inputs, places, pooled, scale, mean, inverse_deviation)


def _backward(axis_name, kept, gradients):
  """As batch norm's own, of a gradient that is zero but at the windows' places."""
  inputs, places, pooled, scale, mean, inverse_deviation = kept
  gradient = jnp.where(pooled > 0, gradients[0], 0)
  height, width = inputs.shape[1:3]

  def spread(places, gradient):
    return spread_to_places(places, gradient)[:, :height, :width].astype(jnp.float32)

  normalised = (inputs.astype(jnp.float32) - mean) * inverse_deviation
  by_bias, by_scale = gradient.sum((0, 1, 2), dtype=jnp.float32), (spread(places, gradient) * normalised).sum((0, 1, 2))
  count = inputs.size // inputs.shape[-1]
  means = over_devices((by_bias / count, by_scale / count), axis_name)
  # Behind the barrier the spread gradient is computed a second time, where it would be kept in memory for both uses.
  (mean_gradient, mean_product), places, gradient = jax.lax.optimization_barrier((means, places, gradient))
  by_inputs = scale * inverse_deviation * (spread(places, gradient) - mean_gradient - normalised * mean_product)
  return by_inputs.astype(inputs.dtype), by_scale, by_bias, jnp.zeros_like(mean)


in_one.defvjp(_forward, _backward)
