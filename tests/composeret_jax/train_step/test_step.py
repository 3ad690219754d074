import dataclasses
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.distributed import data_mesh
from composeret_jax.models.composers import COMPOSERS
from composeret_jax.models.layers.dropout import Dropout
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.models.variables import variables_of
from composeret_jax.pretrained.text_encoder import open_texts
from composeret_jax.train_step import step as train_step
from composeret_jax.train_step.candidates import ABSENT
from composeret_jax.train_step.losses import LOSSES
from composeret_jax.train_step.objective import encode_batch
from composeret_jax.train_step.optimizers import build_optimizer
from composeret_jax.train_step.parallel import Parallel, scanned
from composeret_jax.train_step.state import create_state, evaluated_variables, TrainState
from composeret_jax.train_step.step import FEW, gradient_norm, make_train_step
from composeret_jax.training.model import build_model
from tests.fakes import tiny
from tests.fakes.slow import slow

# For tests that need no other loss: the main one compiles faster alone.
MAIN_ALONE = {"image_reconstruction": 0, "text_reconstruction": 0, "rotational_symmetry": 0}


def batch(size=8):
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 255, (2, size, 16, 16, 3), dtype=np.uint8)
  tokens = rng.integers(0, 5, (size, 2)).astype(np.int32)
  return {"reference": jnp.asarray(pixels[0]), "target": jnp.asarray(pixels[1]), "tokens": jnp.asarray(tokens)}


def text_encoder(config):
  texts = ["old red new cat"]
  return open_texts(config.model.text_encoder, texts, texts, batch_size=1).build_encoder


@dataclasses.dataclass
class TinyStep:
  """The tiny step, jitted, the state before it, and a None for each time that it was traced."""

  jitted: Any
  state: TrainState
  traces: list[None]


@pytest.fixture(scope="module")
def tiny_step(raw_mit_states, prepared):
  config, traces = tiny.config(raw_mit_states, prepared), []
  model = build_model(config.model, text_encoder(config), seed=0)
  optimizer = build_optimizer(config)
  step = make_train_step(model, optimizer, config)

  def counted(state, batch):
    traces.append(None)
    return step(state, batch)

  return TinyStep(jax.jit(counted), create_state(model, optimizer, seed=0), traces)


def test_the_step_is_traced_once(tiny_step):
  jitted, state = tiny_step.jitted, tiny_step.state
  for _ in range(4):
    state, _ = jitted(state, batch())
  assert len(tiny_step.traces) == 1
  assert int(state.step) == 4


def test_a_step_moves_parameters_and_statistics_and_is_reproducible(tiny_step):
  jitted, state = tiny_step.jitted, tiny_step.state
  first, losses = jitted(state, batch())
  again, same_losses = jitted(state, batch())
  assert set(losses) == {
    "total", "main", "image_reconstruction", "text_reconstruction", "rotational_symmetry", "gradient_norm",
  }  # fmt: skip
  assert {name: float(value) for name, value in losses.items()} == {n: float(v) for n, v in same_losses.items()}
  jax.tree.map(np.testing.assert_array_equal, first.variables.params, again.variables.params)
  for before, after in (
    (state.variables.params, first.variables.params),
    (state.variables.batch_stats, first.variables.batch_stats),
  ):
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
    assert np.mean(jax.tree.leaves(moved)) > 0.9


def test_the_next_step_draws_other_dropout(tiny_step):
  jitted, state = tiny_step.jitted, tiny_step.state
  _, losses = jitted(state, batch())
  later = dataclasses.replace(state, step=state.step + 1)
  _, later_losses = jitted(later, batch())
  assert float(losses["main"]) != float(later_losses["main"])


@pytest.mark.parametrize("with_negatives", [slow(False), True])
def test_the_soft_triplet_trains_too(config, with_negatives):
  config.loss, config.loss_reference_as_negative, config.loss_label_mask = (
    "soft_triplet",
    with_negatives,
    with_negatives,
  )
  labels = {"reference_label": jnp.arange(8), "target_label": jnp.arange(8) + 8} if with_negatives else {}
  model = build_model(config.model, text_encoder(config), seed=0)
  optimizer = build_optimizer(config)
  step = jax.jit(make_train_step(model, optimizer, config))
  state = create_state(model, optimizer, seed=0)
  values = []
  for _ in range(12):
    state, losses = step(state, batch() | labels)
    values.append(float(losses["main"]))
  assert np.mean(values[-3:]) < np.mean(values[:3])


@pytest.mark.parametrize("loss", [slow("batch_based_classification"), "soft_triplet"])
def test_the_losses_blocks_reach_the_step_and_change_no_loss(config, loss):
  model = build_model(config.model, text_encoder(config), seed=0)
  optimizer = build_optimizer(config)
  config.loss = loss
  state = create_state(model, optimizer, seed=0)
  whole = make_train_step(model, optimizer, config)
  in_blocks = config.copy_and_resolve_references()
  in_blocks.loss_block_rows = 3
  blocked = make_train_step(model, optimizer, in_blocks)
  steps = [jax.jit(step) for step in (whole, blocked)]
  num_loops = [str(step.trace(state, batch()).jaxpr).count("scan[") for step in steps]
  assert num_loops[0] < num_loops[1]
  (_, expected), (_, losses) = (step(state, batch()) for step in steps)
  for name, value in losses.items():
    assert float(value) == pytest.approx(float(expected[name]), rel=1e-4)


@pytest.mark.parametrize("kind", ["jit", "pmap"])
def test_a_model_without_parameters_has_a_step_and_an_optimiser(config, kind):
  class Pixel(nnx.Module):
    """The first pixel's colour, or a text's first ids."""

    reads = "tokens"

    def __call__(self, rows, *, rngs=None):
      return rows.reshape(len(rows), -1)[:, :2].astype(jnp.float32)

  model = RetrievalModel(Pixel(), Pixel(), COMPOSERS["sum"](2, 2, normalise=True, rngs=nnx.Rngs(0)), train_radius=False)
  optimizer = build_optimizer(config)
  config.model.loss_weights = {name: float(name == "main") for name in config.model.loss_weights}
  parallel = Parallel(kind, data_mesh(), steps_per_call=1)
  step = parallel.compile(make_train_step(model, optimizer, config, parallel))
  state = create_state(model, optimizer, seed=0)
  assert not jax.tree.leaves(state.variables.params)
  state, losses = step(state, {name: parallel.place(np.asarray(rows)) for name, rows in batch().items()}, None)
  assert int(state.step) == 1 and losses["total"] > 0 and losses["gradient_norm"] == 0


@pytest.mark.parametrize("loss, names", [("sigmoid", {"radius", "bias"}), ("info_nce", {"radius"})])
def test_the_losses_own_numbers_are_trained(config, loss, names):
  config.loss = loss
  config.model.loss_weights.update(MAIN_ALONE)
  model = build_model(config.model, text_encoder(config), seed=0, has_bias=LOSSES[loss].has_bias)
  optimizer = build_optimizer(config)
  state = create_state(model, optimizer, seed=0)
  assert {name for name, value in state.variables.params.items() if isinstance(value, jax.Array)} == names
  assert float(state.variables.params.get("bias", -10)) == -10 and float(state.variables.params["radius"]) == 4
  after, _ = jax.jit(make_train_step(model, optimizer, config))(state, batch())
  assert all(float(after.variables.params[name]) != float(state.variables.params[name]) for name in names)


def test_a_radius_that_is_not_trained_is_no_parameter(config):
  config.model.radius, config.model.train_radius = 10.0, False
  model = build_model(config.model, text_encoder(config), seed=0)
  assert "radius" not in create_state(model, build_optimizer(config), seed=0).variables.params
  np.testing.assert_allclose(jnp.linalg.norm(model.on_sphere(jnp.array([[3.0, 4.0]]))), 10.0, rtol=1e-6)


@pytest.fixture
def with_poison(config, monkeypatch):
  """A batch's `poison` [batch] is added to its references' features: pixels are bytes, and cannot be NaN."""
  config.model.loss_weights.update(MAIN_ALONE)

  def encode(model, batch, *arguments):
    reference, target, text = encode_batch(model, batch, *arguments)
    return reference + batch["poison"][:, None], target, text

  monkeypatch.setattr(train_step, "encode_batch", encode)


def harmless(size=8):
  return batch(size) | {"poison": jnp.zeros(size)}


def poisoned(size=8):
  return batch(size) | {"poison": jnp.zeros(size).at[3].set(jnp.nan)}


def run_steps(config, kind, batches):
  """The states and losses after each batch."""
  model = build_model(config.model, text_encoder(config), seed=0)
  optimizer = build_optimizer(config)
  parallel = Parallel(kind, data_mesh(), steps_per_call=1)
  step = parallel.compile(make_train_step(model, optimizer, config, parallel))
  state, results = create_state(model, optimizer, seed=0), []
  for rows in batches:
    state, losses = step(state, {name: parallel.place(np.asarray(value)) for name, value in rows.items()}, None)
    results.append((jax.tree.map(jnp.copy, state), jax.device_get(losses)))  # the next step uses the state up
  return results


@pytest.mark.parametrize("kind, num_microbatches", [("jit", 1), slow("pmap", 1), slow("jit", 2)])
def test_a_poisoned_batch_is_skipped_and_counted(with_poison, config, kind, num_microbatches):
  config.train.on_nonfinite = "skip"
  config.train.num_microbatches = num_microbatches
  config.ema_decay = 0.5
  batches = [harmless(), poisoned(), harmless()]
  (first, _), (second, lost), (third, losses) = run_steps(config, kind, batches)
  for name in ("variables", "optimizer_state", "averaged_batch_stats"):
    jax.tree.map(np.testing.assert_array_equal, getattr(first, name), getattr(second, name))
  assert np.isnan(lost["total"]) and (lost["num_skipped"], lost["num_skipped_in_a_row"]) == (1, 1)
  assert [int(state.step) for state in (first, second, third)] == [1, 2, 3]
  assert np.isfinite(losses["total"]) and (losses["num_skipped"], losses["num_skipped_in_a_row"]) == (1, 0)
  assert (second.num_skipped, third.num_skipped) == (1, 1)
  moved = jax.tree.map(lambda a, b: bool((a != b).any()), second.variables.params, third.variables.params)
  assert np.mean(jax.tree.leaves(moved)) > 0.9


@pytest.mark.slow  # compiles several steps
@pytest.mark.parametrize("kind", ["jit", slow("pmap")])
def test_the_evaluated_statistics_are_an_average_like_the_parameters(config, kind):
  config.ema_decay = 0.75
  expected = variables_of(build_model(config.model, text_encoder(config), seed=0))._replace(frozen={})
  for state, _ in run_steps(config, kind, [batch()] * 3):
    now = state.variables._replace(frozen={})
    expected = jax.tree.map(lambda average, new: 0.75 * average + 0.25 * new, expected, now)
    found = evaluated_variables(state)._replace(frozen={})
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, expected)
  assert jax.tree.leaves(found.batch_stats)  # there are some


@pytest.mark.slow  # compiles several steps
def test_skipping_changes_no_step_that_is_finite(config):
  ((expected, _),) = run_steps(config, "jit", [batch()])
  config.train.on_nonfinite = "skip"
  ((state, losses),) = run_steps(config, "jit", [batch()])
  jax.tree.map(np.testing.assert_array_equal, state.variables.params, expected.variables.params)
  assert losses["num_skipped"] == 0


def test_a_skipped_step_in_a_call_of_several_leaves_the_others(with_poison, config):
  config.train.on_nonfinite = "skip"
  model = build_model(config.model, text_encoder(config), seed=0)
  optimizer = build_optimizer(config)
  rows = [harmless(), poisoned(), poisoned(), harmless()]
  stacked = jax.tree.map(lambda *values: jnp.stack(values), *rows)
  _, losses = jax.jit(scanned(make_train_step(model, optimizer, config)))(create_state(model, optimizer, 0), stacked)
  assert losses["num_skipped"].tolist() == [0, 1, 2, 2]
  assert losses["num_skipped_in_a_row"].tolist() == [0, 1, 2, 0]
  assert np.isfinite(losses["total"]).tolist() == [True, False, False, True]


def test_the_gradient_norm_is_of_all_leaves_large_and_small():
  rng = np.random.default_rng(0)
  leaves = [jnp.asarray(rng.normal(size=size), jnp.float32) for size in [(), (3,), (5, 7), (FEW,), (2, FEW)]]
  for some in (leaves, leaves[:3], leaves[3:]):
    expected = np.linalg.norm(np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in some]))
    np.testing.assert_allclose(gradient_norm({"a": some[:2], "b": some[2:]}), expected, rtol=1e-6)


@pytest.mark.slow  # compiles a step for each loss
def test_references_and_given_negatives_stand_against_the_targets(config):
  config.loss, config.loss_reference_as_negative, config.loss_label_mask = "batch_based_classification", True, True
  config.model.loss_weights.update(MAIN_ALONE)
  model = build_model(config.model, text_encoder(config), seed=0)
  model.set_attributes(Dropout, rate=0.0, raise_if_not_found=False)
  optimizer = build_optimizer(config)
  state = create_state(model, optimizer, seed=0)
  own = batch() | {
    "reference_label": jnp.arange(8) % 3,
    "target_label": jnp.arange(8) % 5,
    "negative": jnp.stack([batch()["target"]] * 2, axis=1) // 2,
    "negative_label": jnp.array([[4, ABSENT]] * 8),
  }
  _, losses = jax.jit(make_train_step(model, optimizer, config))(state, own)

  model.train()
  reference, target = (model.encode_images(own[name]) for name in ("reference", "target"))
  negatives = model.encode_images(own["negative"].reshape(16, 16, 16, 3))[::2]
  composed = model.on_sphere(model.compose(reference, model.encode_texts(own["tokens"])))
  target, reference, negatives = map(model.on_sphere, (target, reference, negatives))
  expected = 0.0
  for i in range(8):
    wrong = [target[j] for j in range(8) if (i - j) % 5] + [reference[j] for j in range(8) if j % 3 != i % 5]
    wrong += list(negatives) if i % 5 != 4 else []
    scores = jnp.array([composed[i] @ image for image in [target[i], *wrong]])
    expected += jax.nn.logsumexp(scores) - scores[0]
  np.testing.assert_allclose(losses["main"], expected / 8, rtol=1e-4)
