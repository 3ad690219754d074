from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.layers.convolution import adaptive_max_pool, Conv1d, convolve


def convolve_in_loops(maps, kernel, stride):
  size = kernel.shape[0]
  pad = (size - 1) // 2
  padded = np.pad(maps, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
  height, width = -(-maps.shape[1] // stride), -(-maps.shape[2] // stride)
  out = np.zeros((len(maps), height, width, kernel.shape[-1]))
  for y in range(height):
    for x in range(width):
      patch = padded[:, y * stride : y * stride + size, x * stride : x * stride + size]
      out[:, y, x] = np.tensordot(patch, kernel, 3)
  return out


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("side", [1, 2, 3, 4, 5, 8, 15])
def test_convolution_on_small_and_large_maps(side, size, stride):
  rng = np.random.default_rng(side)
  maps = rng.normal(size=(2, side, side + 1, 3))
  kernel = rng.normal(size=(size, size, 3, 4))
  result = convolve(jnp.asarray(maps, jnp.float32), jnp.asarray(kernel, jnp.float32), stride)
  np.testing.assert_allclose(result, convolve_in_loops(maps, kernel, stride), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [2, 5])
def test_gradients_of_the_small_map_convolution(side, stride):
  rng = np.random.default_rng(0)
  maps, kernel = rng.normal(size=(2, side, side, 3)), rng.normal(size=(3, 3, 3, 4))
  out_side = -(-side // stride)
  weights = rng.normal(size=(2, out_side, out_side, 4))

  def loss(maps, kernel):
    return (convolve(maps, kernel, stride) * weights).sum()

  by_maps, by_kernel = jax.grad(loss, argnums=(0, 1))(jnp.asarray(maps), jnp.asarray(kernel))
  # The loss is linear in each argument: its derivative along a direction is its value there.
  direction = rng.normal(size=maps.shape)
  expected = (convolve_in_loops(direction, kernel, stride) * weights).sum()
  np.testing.assert_allclose((np.asarray(by_maps) * direction).sum(), expected, rtol=1e-4)
  direction = rng.normal(size=kernel.shape)
  expected = (convolve_in_loops(maps, direction, stride) * weights).sum()
  np.testing.assert_allclose((np.asarray(by_kernel) * direction).sum(), expected, rtol=1e-4)


def test_conv1d_slides_over_neighbours_with_zeros_outside():
  conv = Conv1d(1, 1, rngs=nnx.Rngs(0))
  conv.kernel[...] = jnp.array([1.0, 10.0, 100.0]).reshape(3, 1, 1)
  conv.bias[...] = jnp.array([0.5])
  signal = jnp.array([1.0, 2.0, 3.0]).reshape(1, 3, 1)
  assert conv(signal)[0, :, 0].tolist() == [210.5, 321.5, 32.5]


def test_adaptive_pool_windows_cover_and_overlap():
  signal = jnp.arange(5.0).reshape(1, 5, 1)
  # Windows [0, 2), [1, 4) and [3, 5).
  assert adaptive_max_pool(signal, 3)[0, :, 0].tolist() == [1.0, 3.0, 4.0]
  assert adaptive_max_pool(-signal, 3)[0, :, 0].tolist() == [0.0, -1.0, -3.0]
  assert adaptive_max_pool(jnp.arange(6.0).reshape(1, 6, 1), 3)[0, :, 0].tolist() == [1.0, 3.0, 5.0]
