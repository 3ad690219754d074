"""ComposeAE, its losses, gradients and SGD steps against the original program."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from composeret_jax import losses
from composeret_jax.composers.compose_ae import ComposeAE
from composeret_jax.model import RetrievalModel
from composeret_jax.objective import weighted_losses
from composeret_jax.optimizers import coupled_sgd
from composeret_jax.weights import original
from tests.parity import golden

WEIGHTS = {"main": 1.0, "image_reconstruction": 0.1, "text_reconstruction": 0.1, "rotational_symmetry": 0.01}
ORIGINAL_TERMS = {
  "main": "main",
  "image_reconstruction": "decoded_image",
  "text_reconstruction": "decoded_text",
  "rotational_symmetry": "rotational_symmetry",
  "total": "total",
}
LOSSES = ("batch_based_classification", "soft_triplet")


@pytest.fixture(scope="module")
def numbers():
  return golden.load("compose_ae")


@pytest.fixture
def model(numbers):
  image_dim, text_dim = numbers["in/image_source"].shape[1], numbers["in/text"].shape[1]
  composer = ComposeAE(image_dim, text_dim, rngs=nnx.Rngs(0))
  model = RetrievalModel(nnx.Module(), nnx.Module(), composer)
  original.fill(golden.under(numbers, "param/"), original.composer_slots(model))
  model.set_attributes(nnx.Dropout, rate=0.0)
  return model


def inputs(numbers):
  return [jnp.asarray(numbers[f"in/{name}"]) for name in ("image_source", "image_target", "text")]


def pair_loss(name, numbers):
  if name == "batch_based_classification":
    return losses.batch_classification_loss
  triplets = jnp.asarray(numbers["in/triplets"])
  return lambda composed, targets: losses.soft_triplet_loss(composed, targets, triplets)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_outputs(numbers, model, mode):
  model.train() if mode == "train" else model.eval()
  source, target, text = inputs(numbers)
  composed = model.compose(source, text, rngs=nnx.Rngs(0))
  decoded_image, decoded_text = model.composer.decode(composed)
  turned_back = model.compose(target, text, conjugate=True, rngs=nnx.Rngs(0))
  for name, value in {
    "composed": composed,
    "decoded_image": decoded_image,
    "decoded_text": decoded_text,
    "composed_conjugate_of_target": turned_back,
  }.items():
    assert relative_error(value, numbers[f"{mode}/{name}"]) < 1e-5, name


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_and_gradient_norms(numbers, model, loss):
  model.train()
  graphdef, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
  gradients, terms = jax.grad(total_loss(graphdef, stats, numbers, loss), has_aux=True)(params)
  for ours, theirs in ORIGINAL_TERMS.items():
    np.testing.assert_allclose(terms[ours], numbers[f"loss/{loss}/{theirs}"], rtol=1e-5, err_msg=ours)
  expected = golden.under(numbers, f"grad_norm/{loss}/")
  norms = gradient_norms(graphdef, gradients, stats)
  assert norms.keys() == expected.keys()
  for name, norm in norms.items():
    # A bias right before batch norm has no gradient but rounding.
    np.testing.assert_allclose(norm, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("loss", LOSSES)
def test_ten_sgd_steps(numbers, model, loss):
  model.train()
  graphdef, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
  optimizer = coupled_sgd(learning_rate=0.01, momentum=0.9, weight_decay=5e-5)
  optimizer_state = optimizer.init(params)
  gradient = jax.jit(jax.grad(total_loss(graphdef, stats, numbers, loss), has_aux=True))
  totals = []
  for _ in range(len(numbers[f"sgd/{loss}/total_loss"])):
    gradients, terms = gradient(params)
    totals.append(terms["total"])
    updates, optimizer_state = optimizer.update(gradients, optimizer_state, params)
    params = optax.apply_updates(params, updates)
  np.testing.assert_allclose(totals, numbers[f"sgd/{loss}/total_loss"], rtol=1e-3)


def total_loss(graphdef, stats, numbers, loss):
  source, target, text = inputs(numbers)

  def function(params):
    model = nnx.merge(graphdef, params, stats, copy=True)
    terms = weighted_losses(
      model, source, target, text, loss=pair_loss(loss, numbers), weights=WEIGHTS, rngs=nnx.Rngs(0)
    )
    return terms["total"], terms

  return function


def gradient_norms(graphdef, gradients, stats):
  """The gradient's Euclidean norm for each original name."""
  slots = original.composer_slots(nnx.merge(graphdef, gradients, stats))
  parameters = {name: slot for name, slot in slots.items() if "running_" not in name}
  return {name: np.sqrt(sum(np.sum(np.square(v[...])) for v in slot.variables)) for name, slot in parameters.items()}


def relative_error(value, expected):
  return np.abs(value - expected).max() / np.abs(expected).max()
