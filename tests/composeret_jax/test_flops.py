"""Operations counted by hand."""

import jax
import jax.numpy as jnp
import pytest

from composeret_jax.flops import program_flops

# Beside the products there are a few operations of loop counters and sums.
NEARLY = 0.01

PRODUCT = 2 * 32 * 64 * 64


def rows(num=32):
  return jnp.ones((num, 64))


def square():
  return jnp.ones((64, 64))


def test_a_network_and_its_gradient_cost_three_times_its_products():
  def loss(weights, x):
    return (x @ weights["in"] @ weights["out"]).sum()

  weights = {"in": square(), "out": jnp.ones((64, 16))}
  forward = PRODUCT + 2 * 32 * 64 * 16
  first_layer_has_no_input_gradient = PRODUCT
  counted = program_flops(jax.grad(loss), weights, rows())
  assert counted == pytest.approx(3 * forward - first_layer_has_no_input_gradient - 2 * 32 * 64 * 16, rel=NEARLY)


@pytest.mark.parametrize("unroll", [1, 3])
def test_every_iteration_of_nested_loops_counts(unroll):
  @jax.jit
  def loops(w, x):
    def inner(x, _):
      return x @ w, None

    def outer(x, _):
      return jax.lax.scan(inner, x, None, length=6, unroll=unroll)[0] @ w, None

    return jax.lax.scan(outer, x, None, length=5)[0] @ w

  assert program_flops(loops, square(), rows()) == pytest.approx((5 * (6 + 1) + 1) * PRODUCT, rel=NEARLY)


def test_arguments_split_over_devices_count_whole():
  mesh = jax.sharding.Mesh(jax.devices(), ("data",))
  split = jax.device_put(rows(), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data")))
  assert program_flops(jnp.matmul, split, square()) == pytest.approx(PRODUCT, rel=NEARLY)
