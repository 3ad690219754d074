import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.model import build_model
from composeret_jax.optimizers import build_optimizer
from composeret_jax.texts import open_texts
from composeret_jax.train_step import create_state, make_train_step


def batch(size=8):
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 255, (2, size, 16, 16, 3), dtype=np.uint8)
  tokens = rng.integers(0, 5, (size, 2)).astype(np.int32)
  return {"reference": jnp.asarray(pixels[0]), "target": jnp.asarray(pixels[1]), "tokens": jnp.asarray(tokens)}


def text_encoder(config):
  texts = ["old red new cat"]
  return open_texts(config.model.text_encoder, texts, texts, batch_size=1).build_encoder


@pytest.fixture
def step_and_state(config):
  model = build_model(config.model, text_encoder(config), seed=0)
  optimizer = build_optimizer(config)
  step = make_train_step(model, optimizer, config)
  return step, create_state(model, optimizer, seed=0)


def test_the_step_is_traced_once(step_and_state):
  step, state = step_and_state
  traces = []

  def counted(state, batch):
    traces.append(None)
    return step(state, batch)

  jitted = jax.jit(counted)
  for _ in range(4):
    state, _ = jitted(state, batch())
  assert len(traces) == 1
  assert int(state.step) == 4


def test_a_step_moves_parameters_and_statistics_and_is_reproducible(step_and_state):
  step, state = step_and_state
  jitted = jax.jit(step)
  first, losses = jitted(state, batch())
  again, same_losses = jitted(state, batch())
  assert set(losses) == {
    "total", "main", "image_reconstruction", "text_reconstruction", "rotational_symmetry", "gradient_norm",
  }  # fmt: skip
  assert {name: float(value) for name, value in losses.items()} == {n: float(v) for n, v in same_losses.items()}
  jax.tree.map(np.testing.assert_array_equal, first.params, again.params)
  for before, after in ((state.params, first.params), (state.batch_stats, first.batch_stats)):
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
    assert np.mean(jax.tree.leaves(moved)) > 0.9


def test_the_next_step_draws_other_dropout(step_and_state):
  step, state = step_and_state
  jitted = jax.jit(step)
  _, losses = jitted(state, batch())
  later = dataclasses.replace(state, step=state.step + 1)
  _, later_losses = jitted(later, batch())
  assert float(losses["main"]) != float(later_losses["main"])


def test_the_soft_triplet_trains_too(config):
  config.loss = "soft_triplet"
  model = build_model(config.model, text_encoder(config), seed=0)
  optimizer = build_optimizer(config)
  step = jax.jit(make_train_step(model, optimizer, config))
  state = create_state(model, optimizer, seed=0)
  values = []
  for _ in range(12):
    state, losses = step(state, batch())
    values.append(float(losses["main"]))
  assert np.mean(values[-3:]) < np.mean(values[:3])


@pytest.mark.parametrize("loss", ["batch_based_classification", "soft_triplet"])
def test_the_losses_blocks_reach_the_step_and_change_no_loss(config, loss):
  model = build_model(config.model, text_encoder(config), seed=0)
  optimizer = build_optimizer(config)
  config.loss = loss
  state = create_state(model, optimizer, seed=0)
  whole = make_train_step(model, optimizer, config)
  in_blocks = config.copy_and_resolve_references()
  in_blocks.loss_block_rows = 3
  blocked = make_train_step(model, optimizer, in_blocks)
  num_loops = [str(jax.make_jaxpr(step)(state, batch())).count("scan[") for step in (whole, blocked)]
  assert num_loops[0] < num_loops[1]
  (_, expected), (_, losses) = jax.jit(whole)(state, batch()), jax.jit(blocked)(state, batch())
  for name, value in losses.items():
    assert float(value) == pytest.approx(float(expected[name]), rel=1e-4)
