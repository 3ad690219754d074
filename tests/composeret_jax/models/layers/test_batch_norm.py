import jax.numpy as jnp
import numpy as np

from composeret_jax.models.layers.batch_norm import BatchNorm

INPUTS = np.array([[1.0, -2.0], [3.0, 2.0], [8.0, 3.0]], np.float32)


def test_training_uses_the_batch_and_moves_the_averages_by_a_tenth():
  norm = BatchNorm(2)
  norm.train()
  outputs = norm(jnp.asarray(INPUTS))
  mean, var = INPUTS.mean(axis=0), INPUTS.var(axis=0)
  np.testing.assert_allclose(outputs, (INPUTS - mean) / np.sqrt(var + 1e-5), rtol=1e-5)
  np.testing.assert_allclose(norm.mean[...], 0.1 * mean, rtol=1e-6)
  unbiased = INPUTS.var(axis=0, ddof=1)
  np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * unbiased, rtol=1e-6)


def test_evaluation_uses_the_averages_and_leaves_them():
  norm = BatchNorm(2)
  norm.mean[...] = jnp.array([1.0, 2.0])
  norm.var[...] = jnp.array([4.0, 9.0])
  norm.eval()
  outputs = norm(jnp.asarray(INPUTS))
  np.testing.assert_allclose(outputs, (INPUTS - [1, 2]) / np.sqrt(np.array([4, 9]) + 1e-5), rtol=1e-5)
  np.testing.assert_array_equal(norm.mean[...], [1.0, 2.0])


def test_the_variance_keeps_its_digits_under_a_large_mean():
  norm = BatchNorm(1)
  norm.train()
  rng = np.random.default_rng(0)
  inputs = (1000 + rng.normal(size=(64, 5, 5, 1))).astype(np.float32)
  outputs = np.asarray(norm(jnp.asarray(inputs)))
  assert abs(outputs.std() - 1) < 1e-3


def test_bfloat16_stays_bfloat16():
  norm = BatchNorm(2)
  norm.train()
  assert norm(jnp.asarray(INPUTS, jnp.bfloat16)).dtype == jnp.bfloat16
  assert norm.mean[...].dtype == jnp.float32
