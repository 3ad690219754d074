from flax import nnx
import jax.numpy as jnp
import pytest

from composeret_jax.models.composers import Composer
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.train_step.objective import weighted_losses

WEIGHTS = {"main": 1.0, "image_reconstruction": 0.0, "text_reconstruction": 0.0, "rotational_symmetry": 0.5}


class Unchanged(Composer):
  """Composes to the reference, and turns back to the target."""

  def both_ways(self, reference, target, text, *, rngs=None):
    return reference, target


def test_rotational_symmetry_compares_turned_back_targets_with_references():
  model = RetrievalModel(nnx.Module(), nnx.Module(), Unchanged(), radius=4.0)
  reference, target = jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]])

  def loss(queries, targets):
    return (queries[:, 1] + 10 * targets[:, 0]).mean()  # 0 for the reference as the query and the target as the target

  found = weighted_losses(model, reference, target, jnp.ones((1, 3)), loss=loss, weights=WEIGHTS)
  assert {name: float(value) for name, value in found.items()} == {
    "main": 0.0,
    "rotational_symmetry": pytest.approx(4.0 + 10 * 4.0),
    "total": pytest.approx(0.5 * 44.0),
  }
