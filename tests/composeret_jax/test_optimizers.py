import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest

from composeret_jax.optimizers import build_optimizer, learning_rate_schedule, parameter_groups

CONFIG = ml_collections.ConfigDict(
  {
    "learning_rate": 0.1,
    "trunk_learning_rate_factor": 0.1,
    "momentum": 0.9,
    "weight_decay": 0.5,
    "decay_every_steps": 2,
    "decay_factor": 0.1,
  }
)


def params(value=1.0):
  return {
    "image_encoder": {"trunk": {"stem": {"kernel": jnp.array(value)}}, "head": {"kernel": jnp.array(value)}},
    "radius": jnp.array(value),
  }


def test_only_the_trunk_is_slower():
  groups = parameter_groups(params())
  assert groups["image_encoder"]["trunk"]["stem"]["kernel"] == "trunk"
  assert groups["image_encoder"]["head"]["kernel"] == groups["radius"] == "rest"


def test_learning_rate_falls_after_each_period():
  schedule = learning_rate_schedule(CONFIG)
  np.testing.assert_allclose([schedule(step) for step in range(5)], [0.1, 0.1, 0.01, 0.01, 0.001], rtol=1e-6)


def test_three_steps_by_hand():
  optimizer = build_optimizer(CONFIG)
  values = params()
  state = optimizer.init(values)
  trunk, rest = [1.0, 0.0], [1.0, 0.0]  # value, momentum
  for rate in (0.1, 0.1, 0.01):
    gradients = jax.tree.map(lambda _: jnp.array(2.0), values)
    updates, state = optimizer.update(gradients, state, values)
    values = optax.apply_updates(values, updates)
    for own, factor in ((trunk, 0.1), (rest, 1.0)):
      own[1] = 0.9 * own[1] + 2.0 + 0.5 * own[0]  # the decay joins the gradient before the momentum
      own[0] -= rate * factor * own[1]
  assert float(values["image_encoder"]["trunk"]["stem"]["kernel"]) == pytest.approx(trunk[0], rel=1e-6)
  assert float(values["image_encoder"]["head"]["kernel"]) == pytest.approx(rest[0], rel=1e-6)
  assert float(values["radius"]) == pytest.approx(rest[0], rel=1e-6)
