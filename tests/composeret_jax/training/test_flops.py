"""Operations counted by hand."""

import jax
import jax.numpy as jnp
import pytest

from composeret_jax.distributed import data_mesh
from composeret_jax.train_step.parallel import Parallel
from composeret_jax.train_step.step import make_train_step
from composeret_jax.training.batches import resident_images, train_batches
from composeret_jax.training.profiling import flops_per_step, program_flops
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run

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


@pytest.mark.parametrize(("platform", "iterations"), [("cpu", 5), ("tpu", 1)])
def test_of_a_choice_by_platform_only_the_branch_that_runs_here_counts(platform, iterations):
  def loop(w, x):
    return jax.lax.scan(lambda x, _: (x @ w, None), x, None, length=5)[0]

  def chosen(w, x):
    return jax.lax.platform_dependent(w, x, **{platform: loop}, default=lambda w, x: x @ w)

  assert jax.default_backend() == "cpu"
  assert program_flops(chosen, square(), rows()) == pytest.approx(iterations * PRODUCT, rel=NEARLY)


def test_a_step_of_one_device_is_traced_once_and_counts_as_the_step_by_itself(config, tmp_path):
  run, traces = open_run(config, tmp_path / "run"), []
  state = newest_state(run)
  parallel = Parallel("jit", data_mesh(), steps_per_call=1)
  images = resident_images(run.dataset, config, parallel.mesh)
  batch = next(train_batches(run.data, parallel, 0, as_rows=images is not None))
  step = make_train_step(run.model, run.optimizer, config, parallel)

  def watched(*arguments):
    traces.append(arguments)
    return step(*arguments)

  alone = program_flops(make_train_step(run.model, run.optimizer, config), state, batch, images)
  program = parallel.compile(watched)
  program(state, batch, images)  # uses the state up
  counted = flops_per_step(run.model, run.optimizer, config, parallel, program, state, batch, images)
  assert counted == alone > 0
  assert len(traces) == 1
