"""The rotor moves by a text and back, and training learns both parts of the motion."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.models.composers.rotor import normalised, Rotor, turn
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.train_step.losses.batch_based_classification import batch_classification_loss
from composeret_jax.train_step.objective import weighted_losses
from data_pipelines.input_error import InputError

BATCH, IMAGE_DIM, TEXT_DIM = 6, 16, 12
NO_WEIGHTS = {"main": 0.0, "image_reconstruction": 0.0, "text_reconstruction": 0.0, "rotational_symmetry": 0.0}


def random(*shape, seed=0):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def set_gate(rotor, bias):
  """0 for every number of the gate's input, hence sigmoid(bias) whatever image and text are."""
  rotor.gate.kernel[...], rotor.gate.bias[...] = jnp.zeros_like(rotor.gate.kernel), jnp.full(IMAGE_DIM, bias)


@pytest.fixture
def rotor():
  return Rotor(IMAGE_DIM, TEXT_DIM, rngs=nnx.Rngs(0))


@pytest.fixture
def image():
  return normalised(random(BATCH, IMAGE_DIM))


@pytest.fixture
def text():
  return normalised(random(BATCH, TEXT_DIM, seed=1))


def complex_numbers(features):
  real, imaginary = np.split(np.asarray(features, np.float64), 2, axis=1)
  return real + 1j * imaginary


def test_turning_is_multiplication_of_complex_numbers():
  features, angles = random(BATCH, IMAGE_DIM), random(BATCH, IMAGE_DIM // 2, seed=1)
  product = complex_numbers(features) * np.exp(1j * np.asarray(angles))
  expected = np.concatenate([product.real, product.imag], axis=1)
  np.testing.assert_allclose(turn(features, angles), expected, rtol=1e-5, atol=1e-6)


def test_the_composed_feature_is_the_docstrings_formula(rotor, image, text):
  t, weights = np.asarray(text), {name: np.asarray(value[...]) for name, value in _weights(rotor).items()}
  angles = np.pi * np.tanh(np.tanh(t @ weights["angle.hidden"]) @ weights["angle.out"])
  shift = np.tanh(t @ weights["shift.hidden"]) @ weights["shift.out"]
  gate = 1 / (1 + np.exp(-np.concatenate([image, t], axis=1) @ weights["gate"] - np.asarray(rotor.gate.bias[...])))
  turned = complex_numbers(image) * np.exp(1j * angles)
  turned = np.concatenate([turned.real, turned.imag], axis=1)
  expected = (1 - gate) * np.asarray(image) + gate * turned + shift
  np.testing.assert_allclose(rotor(3 * image, 5 * text), expected, rtol=1e-4, atol=1e-4)


def _weights(rotor):
  parts = {"angle": rotor.angle, "shift": rotor.shift}
  motion = {
    f"{name}.{layer}": getattr(part, layer).kernel for name, part in parts.items() for layer in ("hidden", "out")
  }
  return motion | {"gate": rotor.gate.kernel}


@pytest.mark.parametrize("options", [{}, {"rotates": False}, {"gates": False}, {"shifts": False}])
def test_a_text_moves_and_its_conjugate_moves_back(options, image, text):
  """With the gate open and a decoder that maps nothing, to 1e-5 of what the gate let through."""
  rotor = Rotor(IMAGE_DIM, TEXT_DIM, rngs=nnx.Rngs(0), **options)
  if rotor.gate:
    set_gate(rotor, 50.0)
  rotor.image_decoder.kernel[...], rotor.image_decoder.bias[...] = jnp.eye(IMAGE_DIM), jnp.zeros(IMAGE_DIM)
  composed = rotor(image, text)
  assert float(jnp.abs(composed - image).max()) > 0.1
  np.testing.assert_allclose(rotor.decode_image(composed, text), normalised(image), atol=1e-5)


def test_turning_keeps_lengths(rotor, image, text):
  turned = turn(image, rotor.motion(text)[0])
  assert float(jnp.abs(turned - image).max()) > 0.1
  np.testing.assert_allclose(jnp.linalg.norm(turned, axis=1), jnp.linalg.norm(image, axis=1), rtol=1e-6)


def test_the_images_length_counts_only_where_it_is_not_scaled(rotor, image, text):
  """Scaled, an image ten times as long is one and the same image; as it is, it is moved elsewhere."""
  for features in (rotor(10 * image, text), rotor.both_ways(10 * image, image, text)[0]):
    np.testing.assert_allclose(features, rotor(image, text), atol=1e-4)
  np.testing.assert_allclose(
    rotor.both_ways(image, 10 * image, text)[1], rotor.both_ways(image, image, text)[1], atol=1e-4
  )
  as_it_is = Rotor(IMAGE_DIM, TEXT_DIM, scales_image=False, rngs=nnx.Rngs(0))
  short, long = as_it_is(image, text), as_it_is(10 * image, text)
  cosines = (short * long).sum(axis=1) / jnp.linalg.norm(short, axis=1) / jnp.linalg.norm(long, axis=1)
  assert float(cosines.max()) < 0.99


def test_a_closed_gate_turns_nothing(rotor, image, text):
  set_gate(rotor, -50.0)
  _, shift = rotor.motion(text)
  np.testing.assert_allclose(rotor(image, text), image + shift, atol=1e-4)
  np.testing.assert_allclose(rotor.both_ways(image, image, text)[1], image - shift, atol=1e-4)


@pytest.mark.parametrize(
  ("loss", "part"),
  [
    ("main", "angle"),
    ("main", "shift"),
    ("image_reconstruction", "angle"),  # the shift is taken off again before the image is rebuilt
    ("rotational_symmetry", "angle"),
    ("rotational_symmetry", "shift"),
  ],
)
def test_training_learns_the_motion(rotor, loss, part):
  model = RetrievalModel(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), nnx.Linear(1, 1, rngs=nnx.Rngs(0)), rotor)
  reference, target, text = random(BATCH, IMAGE_DIM), random(BATCH, IMAGE_DIM, seed=1), random(BATCH, TEXT_DIM, seed=2)
  weights = NO_WEIGHTS | {loss: 1.0}

  def total(model):
    return weighted_losses(model, reference, target, text, loss=batch_classification_loss, weights=weights)["total"]

  gradients = getattr(nnx.grad(total)(model).composer, part)
  assert all(float(jnp.abs(gradient).max()) > 1e-6 for gradient in jax.tree.leaves(gradients))


def test_the_symmetry_loss_moves_targets_back(image, text):
  """With the gate open, a target that is the reference turned comes back as the reference."""
  rotor = Rotor(IMAGE_DIM, TEXT_DIM, shifts=False, rngs=nnx.Rngs(0))
  set_gate(rotor, 50.0)
  _, back = rotor.both_ways(image, turn(image, rotor.motion(text)[0]), text)
  np.testing.assert_allclose(back, image, atol=1e-4)


def test_without_a_motion_nothing_changes(image, text):
  composer = Rotor(IMAGE_DIM, TEXT_DIM, rotates=False, shifts=False, rngs=nnx.Rngs(0))
  np.testing.assert_allclose(composer(image, text), image, atol=1e-4)


def test_an_odd_width_is_refused():
  with pytest.raises(InputError, match="features of images have 15 numbers, expected an even number"):
    Rotor(15, TEXT_DIM, rngs=nnx.Rngs(0))
