from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.models.layers.pooled_convolution import PooledConv1d


def pooled_in_loops(signals, kernel, bias, size):
  """Maxima [out, batch, size], and where each first is."""
  padded = np.pad(signals, ((0, 0), (0, 0), (1, 1)))
  (_, batch, length), out_features = signals.shape, kernel.shape[2]
  maxima, places = np.zeros((out_features, batch, size)), np.zeros((out_features, batch, size), int)
  for out, row, i in np.ndindex(maxima.shape):
    start, stop = int(np.floor(i * length / size)), int(np.ceil((i + 1) * length / size))
    values = [(padded[:, row, at : at + 3].T * kernel[:, :, out]).sum() + bias[out] for at in range(start, stop)]
    maxima[out, row, i], places[out, row, i] = max(values), start + np.argmax(values)
  return maxima, places


def layer_with(kernel, bias, size):
  layer = PooledConv1d(*kernel.shape[1:], size, rngs=nnx.Rngs(0))
  layer.kernel[...], layer.bias[...] = jnp.asarray(kernel, jnp.float32), jnp.asarray(bias, jnp.float32)
  return layer


def test_slides_over_neighbours_with_zeros_outside():
  layer = layer_with(np.array([1.0, 10.0, 100.0]).reshape(3, 1, 1), np.array([0.5]), size=3)
  assert layer(jnp.array([[[1.0, 2.0, 3.0]]])).tolist() == [[[210.5, 321.5, 32.5]]]


def test_windows_cover_and_overlap():
  layer = layer_with(np.array([0.0, 1.0, 0.0]).reshape(3, 1, 1), np.zeros(1), size=3)
  signal = jnp.arange(5.0).reshape(1, 1, 5)
  # Windows [0, 2), [1, 4) and [3, 5).
  assert layer(signal).tolist() == [[[1.0, 3.0, 4.0]]]
  assert layer(-signal).tolist() == [[[0.0, -1.0, -3.0]]]
  assert layer(jnp.arange(6.0).reshape(1, 1, 6)).tolist() == [[[1.0, 3.0, 5.0]]]


@pytest.mark.parametrize("length", [12, 13])
def test_maxima_and_gradients(length):
  rng = np.random.default_rng(0)
  signals, kernel, bias = rng.normal(size=(2, 3, length)), rng.normal(size=(3, 2, 5)), rng.normal(size=5)
  weights = rng.normal(size=(5, 3, 4))
  layer = layer_with(kernel, bias, size=4)
  expected, places = pooled_in_loops(signals, kernel, bias, size=4)
  np.testing.assert_allclose(layer(jnp.asarray(signals)), expected, rtol=1e-4, atol=1e-5)

  def loss(layer, signals):
    return (layer(signals) * weights).sum()

  by_layer, by_signals = nnx.grad(loss, argnums=(0, 1))(layer, jnp.asarray(signals))
  padded = np.pad(signals, ((0, 0), (0, 0), (1, 1)))
  expected_by_kernel, expected_by_signals = np.zeros_like(kernel), np.zeros_like(padded)
  for out, row, i in np.ndindex(places.shape):
    near = slice(places[out, row, i], places[out, row, i] + 3)
    expected_by_kernel[:, :, out] += weights[out, row, i] * padded[:, row, near].T
    expected_by_signals[:, row, near] += weights[out, row, i] * kernel[:, :, out].T
  np.testing.assert_allclose(by_layer["kernel"][...], expected_by_kernel, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(by_layer["bias"][...], weights.sum(axis=(1, 2)), rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(by_signals, expected_by_signals[:, :, 1:-1], rtol=1e-4, atol=1e-5)


def test_equal_maxima_share_one_gradient():
  layer = layer_with(np.array([0.0, 1.0, 0.0]).reshape(3, 1, 1), np.zeros(1), size=2)
  gradient = jax.grad(lambda signals: layer(signals).sum())(jnp.array([[[7.0, 7.0, 7.0, 1.0, 2.0]]]))
  # Windows [0, 3) and [2, 5).
  np.testing.assert_allclose(gradient[0, 0], [1 / 3, 1 / 3, 1 / 3 + 1, 0, 0], rtol=1e-6)


def test_what_is_not_a_number_stays_visible():
  layer = layer_with(np.ones((3, 1, 1)), np.zeros(1), size=1)
  signals = jnp.array([[[1.0, jnp.nan, 1.0]]])
  assert jnp.isnan(layer(signals)).all()
  assert jnp.isnan(jax.grad(lambda signals: layer(signals).sum())(signals)).any()
