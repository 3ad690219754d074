import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.models.layers import convolution
from composeret_jax.models.layers.convolution import convolve


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


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [2, 5, 14, 27, 28])
def test_gradients_on_small_and_large_maps(side, stride, size):
  rng = np.random.default_rng(0)
  maps, kernel = rng.normal(size=(2, side, side, 3)), rng.normal(size=(size, size, 3, 4))
  out_side = -(-side // stride)
  weights = rng.normal(size=(2, out_side, out_side, 4))

  def loss(maps, kernel):
    return (convolve(maps, kernel, stride) * weights).sum()

  by_maps, by_kernel = jax.jit(jax.grad(loss, argnums=(0, 1)))(jnp.asarray(maps), jnp.asarray(kernel))
  # The loss is linear in each argument: its derivative along a direction is its value there.
  direction = rng.normal(size=maps.shape)
  expected = (convolve_in_loops(direction, kernel, stride) * weights).sum()
  np.testing.assert_allclose((np.asarray(by_maps) * direction).sum(), expected, rtol=1e-4)
  direction = rng.normal(size=kernel.shape)
  expected = (convolve_in_loops(maps, direction, stride) * weights).sum()
  np.testing.assert_allclose((np.asarray(by_kernel) * direction).sum(), expected, rtol=1e-4)


@pytest.mark.parametrize("at_a_time", [1, 2, 3, 7, 100])
def test_a_kernels_gradient_is_the_same_for_any_number_of_images_at_a_time(at_a_time, monkeypatch):
  rng = np.random.default_rng(0)
  maps, weights = rng.normal(size=(7, 14, 14, 2)), rng.normal(size=(7, 14, 14, 3))
  monkeypatch.setattr(convolution, "NEIGHBOURS_AT_A_TIME", at_a_time * 9 * 14 * 14 * 2)
  by_kernel = jax.grad(lambda kernel: (convolve(jnp.asarray(maps), kernel, 1) * weights).sum())(jnp.zeros((3, 3, 2, 3)))
  padded = np.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)))
  for y, x in np.ndindex(3, 3):
    expected = np.tensordot(padded[:, y : y + 14, x : x + 14], weights, ([0, 1, 2], [0, 1, 2]))
    np.testing.assert_allclose(by_kernel[y, x], expected, rtol=1e-4, atol=1e-4)
