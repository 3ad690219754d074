"""The stem's batch norm, ReLU and max-pool in one and one after the other, both on the CPU by name."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.models.layers.batch_norm import BatchNorm
from composeret_jax.models.layers.normalised_pool import in_one, one_after_the_other

RNG = np.random.default_rng(0)
SCALE = jnp.asarray([1.0, -0.5, 0.1, 2.0], jnp.float32)
BIAS, NEAR = jnp.asarray([0.3, 0.2, 0.1, -9.0], jnp.float32), jnp.full(4, 1.5)  # the last channel is below 0 everywhere
WAYS = (one_after_the_other, in_one)


def maps(batch, height, width):
  return jnp.asarray(RNG.normal(2, 3, (batch, height, width, 4)), jnp.float32)


def value_and_gradients(way, inputs, axis_name=None):
  def loss(inputs, scale, bias):
    outputs, mean, var = way(inputs, scale, bias, NEAR, axis_name)
    weights = jnp.cos(jnp.arange(outputs.size)).reshape(outputs.shape)
    return (outputs * weights).sum(), (outputs, mean, var)

  return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))(inputs, SCALE, BIAS)


def assert_equal(results):
  jax.tree.map(lambda apart, one: np.testing.assert_allclose(one, apart, rtol=1e-5, atol=1e-5), *results)


@pytest.mark.parametrize("sides", [(4, 6), (5, 7), (1, 2)])
def test_outputs_statistics_and_gradients_are_those_of_the_three_apart(sides):
  inputs = maps(3, *sides)
  assert_equal([value_and_gradients(way, inputs) for way in WAYS])


def test_a_mapped_axis_is_averaged_over():
  inputs = maps(6, 4, 4).reshape(3, 2, 4, 4, 4)
  mapped = [functools.partial(value_and_gradients, way, axis_name="data") for way in WAYS]
  assert_equal([jax.vmap(function, axis_name="data")(inputs) for function in mapped])


def test_bfloat16_stays_bfloat16():
  inputs = maps(2, 4, 4).astype(jnp.bfloat16)
  (_, (outputs, mean, _)), (by_inputs, by_scale, _) = value_and_gradients(in_one, inputs)
  assert outputs.dtype == by_inputs.dtype == jnp.bfloat16
  assert mean.dtype == by_scale.dtype == jnp.float32


def test_evaluation_uses_the_averages_and_training_moves_them():
  norm, inputs = BatchNorm(4), maps(2, 4, 4)
  norm.train()
  outputs = norm.relu_and_pool(inputs)
  np.testing.assert_allclose(
    outputs, one_after_the_other(inputs, jnp.ones(4), jnp.zeros(4), NEAR, None).outputs, rtol=1e-5
  )
  np.testing.assert_allclose(norm.mean[...], 0.1 * np.asarray(inputs).mean((0, 1, 2)), rtol=1e-5)
  norm.eval()
  pooled = norm.relu_and_pool(inputs)
  np.testing.assert_allclose(pooled.max(), np.asarray(norm(inputs)).max(), rtol=1e-6)
  assert not np.allclose(pooled, outputs)
