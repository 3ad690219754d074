"""The rotor turns by a text and back, and training learns the angles."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.composers.rotor import normalised, Rotor, turn
from composeret_jax.layers.dropout import RowKeys
from composeret_jax.losses import batch_classification_loss
from composeret_jax.model import RetrievalModel
from composeret_jax.objective import weighted_losses

BATCH, IMAGE_DIM, TEXT_DIM = 6, 16, 12
NO_WEIGHTS = {"main": 0.0, "image_reconstruction": 0.0, "text_reconstruction": 0.0, "rotational_symmetry": 0.0}


def random(*shape, seed=0):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def row_keys():
  return RowKeys(jax.random.key(0), jnp.arange(BATCH))


@pytest.fixture
def rotor():
  return Rotor(IMAGE_DIM, TEXT_DIM, rngs=nnx.Rngs(0))


def test_turning_is_multiplication_of_complex_numbers():
  features, angles = random(BATCH, IMAGE_DIM), random(BATCH, IMAGE_DIM // 2, seed=1)
  real, imaginary = np.split(np.asarray(features), 2, axis=1)
  product = (real + 1j * imaginary) * np.exp(1j * np.asarray(angles))
  expected = np.concatenate([product.real, product.imag], axis=1)
  np.testing.assert_allclose(turn(features, angles), expected, rtol=1e-5, atol=1e-6)


def test_a_text_turns_and_its_conjugate_turns_back(rotor):
  image, text = random(BATCH, IMAGE_DIM), rotor.text_norm(random(BATCH, TEXT_DIM, seed=1))
  turned = turn(image, rotor.angle(text))
  assert float(jnp.abs(turned - image).max()) > 0.1
  np.testing.assert_allclose(turn(turned, rotor.angle(-text)), image, atol=1e-5)


def test_turning_keeps_lengths(rotor):
  image, text = random(BATCH, IMAGE_DIM), rotor.text_norm(random(BATCH, TEXT_DIM, seed=1))
  turned = turn(image, rotor.angle(text))
  np.testing.assert_allclose(jnp.linalg.norm(turned, axis=1), jnp.linalg.norm(image, axis=1), rtol=1e-6)


def test_what_all_texts_share_changes_nothing(rotor):
  image, text = random(BATCH, IMAGE_DIM), random(BATCH, TEXT_DIM, seed=1)
  composed = rotor(image, text, rngs=row_keys())
  np.testing.assert_allclose(rotor(image, text + 3, rngs=row_keys()), composed, atol=1e-4)


@pytest.mark.parametrize("loss", ["main", "image_reconstruction", "rotational_symmetry"])
def test_training_learns_the_angles(rotor, loss):
  model = RetrievalModel(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), nnx.Linear(1, 1, rngs=nnx.Rngs(0)), rotor)
  reference, target, text = random(BATCH, IMAGE_DIM), random(BATCH, IMAGE_DIM, seed=1), random(BATCH, TEXT_DIM, seed=2)
  weights = NO_WEIGHTS | {loss: 1.0}

  def total(model):
    arrays = model, reference, target, text
    return weighted_losses(*arrays, loss=batch_classification_loss, weights=weights, rngs=row_keys())["total"]

  gradients = nnx.grad(total)(model).composer.angle
  assert all(float(jnp.abs(gradient).max()) > 1e-6 for gradient in jax.tree.leaves(gradients))


def test_the_symmetry_loss_turns_targets_by_the_opposite_angles():
  """With the residual off and the gate open, turning back is the inverse of composing."""
  rotor = Rotor(IMAGE_DIM, TEXT_DIM, has_residual=False, rngs=nnx.Rngs(0))
  rotor.gate.kernel[...], rotor.gate.bias[...] = jnp.zeros_like(rotor.gate.kernel), jnp.full(IMAGE_DIM, 50.0)
  image, text = normalised(random(BATCH, IMAGE_DIM)), random(BATCH, TEXT_DIM, seed=1)
  composed = rotor(image, text)
  # The composer normalises what it turns back: length and mean of the composed are not the image's.
  angles = rotor.angle(rotor.text_norm(text))
  np.testing.assert_allclose(rotor(composed, text, conjugate=True), turn(normalised(composed), -angles), rtol=1e-4)
  np.testing.assert_allclose(turn(composed, -angles), image, rtol=1e-4, atol=1e-6)


def test_without_a_rotation_there_are_no_angles():
  image, text = random(BATCH, IMAGE_DIM), random(BATCH, TEXT_DIM, seed=1)
  composer = Rotor(IMAGE_DIM, TEXT_DIM, rotates=False, has_residual=False, rngs=nnx.Rngs(0))
  np.testing.assert_allclose(composer(image, text), normalised(image), atol=1e-6)


def test_an_odd_width_is_refused():
  with pytest.raises(ValueError, match="image_dim is 15, expected an even number"):
    Rotor(15, TEXT_DIM, rngs=nnx.Rngs(0))
