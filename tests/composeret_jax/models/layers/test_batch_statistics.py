"""The two ways to normalise a batch, both on the CPU: they are given by name, whatever the platform."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.models.layers.batch_statistics import in_two_reads, with_own_gradient
from composeret_jax.train_step.step import in_microbatches

RNG = np.random.default_rng(0)
SCALE, BIAS = jnp.asarray(RNG.normal(1, 0.5, 5), jnp.float32), jnp.asarray(RNG.normal(size=5), jnp.float32)
NEAR = jnp.full(5, 1.5)
WAYS = {"plain": in_two_reads, "own": with_own_gradient}


def maps(batch, dtype=jnp.float32):
  return jnp.asarray(RNG.normal(2, 3, (batch, 3, 4, 5)), dtype)


def loss(way, inputs, scale, bias, axis_name=None):
  outputs, mean, var = WAYS[way](inputs, scale, bias, NEAR, axis_name)
  weights = jnp.cos(jnp.arange(outputs.size)).reshape(outputs.shape)
  return (jax.nn.relu(outputs) * weights).sum(dtype=jnp.float32), (outputs, mean, var)


def value_and_gradients(way, inputs, axis_name=None):
  function = functools.partial(loss, way, axis_name=axis_name)
  return jax.jit(jax.value_and_grad(function, argnums=(0, 1, 2), has_aux=True))(inputs, SCALE, BIAS)


@pytest.mark.parametrize(
  "inputs", [maps(6), jnp.asarray(RNG.normal(size=(7, 5)), jnp.float32)], ids=["maps", "vectors"]
)
def test_outputs_statistics_and_gradients_are_the_plain_ones(inputs):
  jax.tree.map(
    lambda plain, own: np.testing.assert_allclose(own, plain, rtol=1e-5, atol=1e-5),
    value_and_gradients("plain", inputs),
    value_and_gradients("own", inputs),
  )


def test_a_mapped_axis_is_averaged_over():
  inputs = maps(8).reshape(4, 2, 3, 4, 5)
  for_each = {
    way: jax.vmap(lambda rows, way=way: value_and_gradients(way, rows, "data"), axis_name="data")(inputs)
    for way in WAYS
  }
  jax.tree.map(
    lambda plain, own: np.testing.assert_allclose(own, plain, rtol=1e-5, atol=1e-5), for_each["plain"], for_each["own"]
  )


def test_microbatches_are_normalised_apart_by_both():
  inputs = maps(8)

  def total(way, inputs):
    def encode(carry, piece):
      return carry + 1, WAYS[way](piece, SCALE, BIAS, NEAR, None)[0]

    return jnp.sin(in_microbatches(encode, 0, (inputs,), 2, 1)[1]).sum()

  gradients = {way: jax.grad(functools.partial(total, way))(inputs) for way in WAYS}
  np.testing.assert_allclose(gradients["own"], gradients["plain"], atol=1e-5)
  assert not np.allclose(
    gradients["own"],
    jax.grad(lambda x: jnp.sin(with_own_gradient(x, SCALE, BIAS, NEAR, None)[0]).sum())(inputs),
    atol=1e-3,
  )


def test_outputs_keep_bfloat16_and_statistics_are_float32():
  (_, (outputs, mean, var)), (by_inputs, by_scale, _) = value_and_gradients("own", maps(2, jnp.bfloat16))
  assert outputs.dtype == by_inputs.dtype == jnp.bfloat16
  assert mean.dtype == var.dtype == by_scale.dtype == jnp.float32


def test_a_mean_near_the_expected_one_leaves_the_variance_its_digits():
  inputs = jnp.asarray(1000 + RNG.normal(size=(4096, 1)), jnp.float32)
  _, mean, var = with_own_gradient(inputs, jnp.ones(1), jnp.zeros(1), jnp.full(1, 999.0), None)
  exact = np.asarray(inputs, np.float64)
  np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-6)
  np.testing.assert_allclose(var, exact.var(0), rtol=1e-5)


def test_no_gradient_flows_through_the_statistics():
  for way in WAYS.values():
    gradient = jax.grad(lambda inputs, way=way: sum(part.sum() for part in way(inputs, SCALE, BIAS, NEAR, None)[1:]))(
      maps(2)
    )
    np.testing.assert_array_equal(gradient, 0)
