import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from composeret_jax.train_step.optimizers import (
  build_optimizer,
  evaluation_params,
  layers_above,
  learning_rate_schedule,
  parameter_groups,
)
from configs import base


def sgd_config(**changes):
  config = base.get_config()
  config.update(learning_rate=0.1, weight_decay=0.5, decay_every_steps=2)
  config.update(changes)
  return config


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
  schedule = learning_rate_schedule(sgd_config())
  np.testing.assert_allclose([schedule(step) for step in range(5)], [0.1, 0.1, 0.01, 0.01, 0.001], rtol=1e-6)


def test_three_steps_by_hand():
  optimizer = build_optimizer(sgd_config())
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


def test_warm_up_rises_to_the_full_rate_and_the_decay_counts_from_its_end():
  schedule = learning_rate_schedule(sgd_config(num_warmup_steps=4))
  expected = [0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.01]
  np.testing.assert_allclose([schedule(step) for step in range(7)], expected, rtol=1e-6)


def test_cosine_is_halfway_down_at_half_the_steps_after_the_warm_up():
  schedule = learning_rate_schedule(sgd_config(decay="cosine", num_warmup_steps=2, num_train_steps=10))
  quarter = 0.1 * (1 + np.sqrt(0.5)) / 2
  values = [schedule(step) for step in (0, 1, 2, 4, 6, 10)]
  np.testing.assert_allclose(values, [0.05, 0.1, 0.1, quarter, 0.05, 0.0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("scaling, expected", [("none", 0.1), ("linear", 1.6), ("square_root", 0.4)])
def test_the_learning_rate_follows_the_batch_size(scaling, expected):
  config = sgd_config(learning_rate_scaling=scaling, batch_size=512)
  assert float(learning_rate_schedule(config)(0)) == pytest.approx(expected)
  assert float(learning_rate_schedule(sgd_config(learning_rate_scaling=scaling))(0)) == pytest.approx(0.1)


MATRIX, BIAS = np.array([[3.0, 0.0], [0.0, 4.0]]), np.array([3.0, 4.0])  # both of norm 5
MATRIX_GRADIENT, BIAS_GRADIENT = np.array([[0.0, 2.0], [1.0, -4.0]]), np.array([6.0, -8.0])


def moved_by(config, num_steps, places=("head",)):
  """The layers at `places` after steps along the constant gradients."""
  layer = {"kernel": jnp.asarray(MATRIX, jnp.float32), "bias": jnp.asarray(BIAS, jnp.float32)}
  gradient = {"kernel": jnp.asarray(MATRIX_GRADIENT, jnp.float32), "bias": jnp.asarray(BIAS_GRADIENT, jnp.float32)}
  values, gradients = ({"image_encoder": dict.fromkeys(places, tree)} for tree in (layer, gradient))
  optimizer = build_optimizer(config)
  state = optimizer.init(values)
  for _ in range(num_steps):
    updates, state = optimizer.update(gradients, state, values)
    values = optax.apply_updates(values, updates)
  return values["image_encoder"]


def test_lars_by_hand():
  kernel, bias, kernel_velocity, bias_velocity = MATRIX, BIAS, 0.0, 0.0
  for _ in range(2):
    decayed = MATRIX_GRADIENT + 0.5 * kernel
    trust = 0.001 * np.linalg.norm(kernel) / np.linalg.norm(decayed)
    kernel_velocity = 0.9 * kernel_velocity + 0.1 * trust * decayed
    bias_velocity = 0.9 * bias_velocity + 0.1 * BIAS_GRADIENT  # neither decay nor trust ratio
    kernel, bias = kernel - kernel_velocity, bias - bias_velocity
  moved = moved_by(sgd_config(optimizer="lars"), num_steps=2)["head"]
  np.testing.assert_allclose(moved["kernel"] - MATRIX, kernel - MATRIX, rtol=1e-3, atol=1e-9)
  np.testing.assert_allclose(moved["bias"], bias, rtol=1e-6)


def adam_directions(gradient, num_steps, eps, b2=0.999):
  first = second = 0.0
  for step in range(1, num_steps + 1):
    first, second = 0.9 * first + 0.1 * gradient, b2 * second + (1 - b2) * gradient**2
    yield (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - b2**step)) + eps)


def test_lamb_by_hand():
  kernel, bias = MATRIX, BIAS
  for direction in adam_directions(MATRIX_GRADIENT, 2, eps=1e-6):
    decayed = direction + 0.5 * kernel
    kernel = kernel - 0.1 * np.linalg.norm(kernel) / np.linalg.norm(decayed) * decayed
  for direction in adam_directions(BIAS_GRADIENT, 2, eps=1e-6):
    bias = bias - 0.1 * direction
  moved = moved_by(sgd_config(optimizer="lamb"), num_steps=2)["head"]
  np.testing.assert_allclose(moved["kernel"], kernel, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(moved["bias"], bias, rtol=1e-5)


def test_adamw_decays_matrices_beside_the_direction():
  kernel, bias = MATRIX, BIAS
  for direction in adam_directions(MATRIX_GRADIENT, 2, eps=1e-8):
    kernel = kernel - 0.1 * (direction + 0.5 * kernel)
  for direction in adam_directions(BIAS_GRADIENT, 2, eps=1e-8):
    bias = bias - 0.1 * direction
  moved = moved_by(sgd_config(optimizer="adamw"), num_steps=2)["head"]
  np.testing.assert_allclose(moved["kernel"], kernel, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(moved["bias"], bias, rtol=1e-5)


def test_adamw_with_other_constants_and_biases_that_decay():
  bias = BIAS
  for direction in adam_directions(BIAS_GRADIENT, 2, eps=0.1, b2=0.98):
    bias = bias - 0.1 * (direction + 0.5 * bias)
  moved = moved_by(sgd_config(optimizer="adamw", adam_b2=0.98, adam_epsilon=0.1, decays_biases=True), num_steps=2)
  np.testing.assert_allclose(moved["head"]["bias"], bias, rtol=1e-5)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars", "lamb"])
def test_the_trunk_is_slower_under_every_optimizer(name):
  moved = moved_by(sgd_config(optimizer=name, learning_rate=0.5), num_steps=1, places=("trunk", "head"))
  for leaf, start in (("kernel", MATRIX), ("bias", BIAS)):
    trunk, head = np.asarray(moved["trunk"][leaf]) - start, np.asarray(moved["head"][leaf]) - start
    assert np.abs(head).max() > 1e-4
    np.testing.assert_allclose(trunk, 0.1 * head, rtol=0.01, atol=1e-6)


def test_a_long_gradient_is_shortened_before_anything_else():
  config = sgd_config(max_gradient_norm=5.5, momentum=0.0)
  length = np.sqrt((MATRIX_GRADIENT**2).sum() + (BIAS_GRADIENT**2).sum())  # 11: halved
  assert length == 11.0
  moved = moved_by(config, num_steps=1)["head"]
  np.testing.assert_allclose(moved["bias"], BIAS - 0.1 * (BIAS_GRADIENT / 2 + 0.5 * BIAS), rtol=1e-6)
  np.testing.assert_allclose(moved["kernel"], MATRIX - 0.1 * (MATRIX_GRADIENT / 2 + 0.5 * MATRIX), rtol=1e-6)
  config.max_gradient_norm = 11.5
  moved = moved_by(config, num_steps=1)["head"]
  np.testing.assert_allclose(moved["bias"], BIAS - 0.1 * (BIAS_GRADIENT + 0.5 * BIAS), rtol=1e-6)


def test_the_average_follows_three_steps_by_hand():
  optimizer = build_optimizer(sgd_config(ema_decay=0.75, momentum=0.0, weight_decay=0.0, decay_every_steps=10))
  values = {"head": jnp.array(1.0)}
  state = optimizer.init(values)
  for _ in range(3):
    updates, state = optimizer.update({"head": jnp.array(4.0)}, state, values)
    values = optax.apply_updates(values, updates)
  assert float(values["head"]) == pytest.approx(-0.2)  # 1, 0.6, 0.2, -0.2
  average = 0.75 * (0.75 * (0.75 * 1 + 0.25 * 0.6) + 0.25 * 0.2) + 0.25 * -0.2
  assert float(evaluation_params(values, state)["head"]) == pytest.approx(average)


def test_without_an_average_the_parameters_are_evaluated():
  values = {"head": jnp.array(1.0)}
  assert evaluation_params(values, build_optimizer(sgd_config()).init(values)) is values


def tower_params():
  layers = {number: {"kernel": jnp.array(1.0)} for number in range(3)}
  trunk = {"embeddings": jnp.array(1.0), "input_norm": jnp.array(1.0), "layers": layers, "norm": jnp.array(1.0)}
  return {"image_encoder": {"trunk": trunk, "head": jnp.array(1.0)}, "text_encoder": {"layers": jnp.array(1.0)}}


def test_layers_are_counted_from_the_top():
  depths = layers_above(tower_params())
  trunk = depths["image_encoder"]["trunk"]
  assert [trunk["layers"][number]["kernel"] for number in range(3)] == [2, 1, 0]
  assert (trunk["embeddings"], trunk["input_norm"], trunk["norm"]) == (3, 3, 0)
  assert depths["image_encoder"]["head"] == depths["text_encoder"]["layers"] == 0
  assert set(jax.tree.leaves(layers_above(params()))) == {0}  # a ResNet's


def test_lower_layers_move_less():
  config = sgd_config(momentum=0.0, weight_decay=0.0, layer_learning_rate_factor=0.5)
  optimizer, values = build_optimizer(config), tower_params()
  gradients = jax.tree.map(lambda _: jnp.array(1.0), values)
  updates, _ = optimizer.update(gradients, optimizer.init(values), values)
  trunk = updates["image_encoder"]["trunk"]
  moved = [trunk["norm"], *(trunk["layers"][number]["kernel"] for number in (2, 1, 0)), trunk["embeddings"]]
  np.testing.assert_allclose(moved, [-0.01, -0.01, -0.005, -0.0025, -0.00125], rtol=1e-6)
  np.testing.assert_allclose(updates["image_encoder"]["head"], -0.1, rtol=1e-6)
