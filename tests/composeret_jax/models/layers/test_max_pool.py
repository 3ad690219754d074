import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.models.layers.max_pool import max_of_slices, max_pool, max_with_places


def pool_in_loops(maps):
  """Maxima, and where each has its gradient."""
  padded = np.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
  batch, height, width, channels = maps.shape
  out = np.zeros((batch, -(-height // 2), -(-width // 2), channels), np.float32)
  counts = np.zeros_like(padded)
  for n, y, x, c in np.ndindex(out.shape):
    window = padded[n, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3, c]
    out[n, y, x, c] = window.max()
    at_y, at_x = np.unravel_index(window.argmax(), window.shape)
    counts[n, 2 * y + at_y, 2 * x + at_x, c] += 1
  return out, counts[:, 1:-1, 1:-1]


# On the CPU by name, whatever the platform.
WAYS = pytest.mark.parametrize("pool", [max_of_slices, max_with_places, max_pool])


@WAYS
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (4, 4), (7, 6), (5, 9)])
def test_maxima_and_their_gradient(shape, pool):
  maps = np.random.default_rng(0).normal(size=(2, *shape, 3)).astype(np.float32)
  expected, counts = pool_in_loops(maps)
  np.testing.assert_array_equal(jax.jit(pool)(maps), expected)
  np.testing.assert_array_equal(jax.jit(jax.grad(lambda maps: pool(maps).sum()))(maps), counts)


@WAYS
def test_equal_maxima_share_one_gradient(pool):
  gradient = jax.grad(lambda maps: pool(maps).sum())(jnp.ones((1, 2, 2, 1)))
  assert gradient.sum() == 1


@WAYS
def test_what_is_not_a_number_stays_visible(pool):
  assert jnp.isnan(pool(jnp.full((1, 2, 2, 1), jnp.nan))).all()


def test_bfloat16_stays_bfloat16():
  maps = jnp.ones((1, 3, 3, 2), jnp.bfloat16)
  assert max_with_places(maps).dtype == jax.grad(lambda maps: max_with_places(maps).sum())(maps).dtype == jnp.bfloat16
