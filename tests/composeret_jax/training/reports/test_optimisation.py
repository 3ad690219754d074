import jax.numpy as jnp
import pytest

from composeret_jax.training.reports.optimisation import optimisation_metrics


@pytest.mark.parametrize(
  ("step", "losses", "rate"),
  [
    (1, {}, 0.1),  # of a warm-up of two steps
    (2, {}, 0.2),
    (5, {}, 0.2),
    (6, {}, 0.02),
    (6, {"num_skipped": 1.0}, 0.2),  # it has moved four times before
    (1, {"num_skipped": 1.0}, 0.1),
  ],
)
def test_the_learning_rate_is_that_of_the_step(config, step, losses, rate):
  config.learning_rate, config.num_warmup_steps, config.decay_every_steps = 0.2, 2, 3
  found = optimisation_metrics(config, step, losses, {"radius": jnp.float32(3.5)})
  assert found == {"learning_rate": pytest.approx(rate), "radius": 3.5}


def test_a_radius_that_is_not_trained_is_the_configurations(config):
  config.model.train_radius, config.model.radius = False, 7.0
  assert optimisation_metrics(config, 1, {}, {})["radius"] == 7.0
