"""What XLA makes of a step on a CPU, read from the compiled program."""

import re

import jax
import jax.numpy as jnp
import pytest

from composeret_jax.distributed import data_mesh
from composeret_jax.train_step.optimizers import build_optimizer
from composeret_jax.train_step.parallel import Parallel
from composeret_jax.train_step.state import create_state
from composeret_jax.train_step.step import make_train_step
from composeret_jax.training.model import build_model
from tests.composeret_jax.train_step.test_step import batch, text_encoder

# The other tests compile without optimisation.
AS_IN_TRAINING = {"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True}


@pytest.mark.slow
def test_a_cpu_writes_no_squares_of_gradients_for_their_norm(config):
  config.optimizer = "adamw"
  model = build_model(config.model, text_encoder(config), seed=0)
  optimizer = build_optimizer(config)
  step = make_train_step(model, optimizer, config)
  leaves, structure = jax.tree.flatten(create_state(model, optimizer, seed=0))

  def of_leaves(leaves, batch):
    return jax.tree.leaves(step(jax.tree.unflatten(structure, leaves), batch))

  compiled = jax.jit(of_leaves).lower(leaves, batch()).compile(AS_IN_TRAINING).as_text()
  computed = compiled[compiled.index("ENTRY") :]
  assert not re.findall(r"= f32\[\d+,\d+\].* fusion.*op_name=\"jit\(of_leaves\)/(?:integer_pow|square)", computed)


@pytest.mark.slow
def test_a_step_on_a_cpu_copies_no_parameters():
  def step(params, batch, images):
    gradients = jax.grad(lambda params: ((jnp.tanh(batch @ params[0]) @ params[1]) ** 2).sum())(params)
    return [param - 0.1 * gradient for param, gradient in zip(params, gradients, strict=True)], {}

  params = [jnp.ones((256, 256))] * 2
  compiled = Parallel("jit", data_mesh(), steps_per_call=1).compile(step).lower(params, jnp.ones((32, 256)), None)
  assert "copy(%params" not in compiled.compile(AS_IN_TRAINING).as_text()
