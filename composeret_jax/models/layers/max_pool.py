"""The maximum over windows of a map, by the operation whose gradient is the fast one on its platform."""

import functools
import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8


def max_pool(
  maps: Float[Array, "batch height width channels"],
) -> Float[Array, "batch half_height half_width channels"]:
  """Over 3x3 windows, two apart, padded by one."""
  # XLA's gradient of a pool of windows, select-and-scatter, takes a CPU five times as long as maxima of slices, and
  # reads and writes the maps of a GPU more often than places that are kept.
  return jax.lax.platform_dependent(maps, cpu=max_of_slices, default=max_with_places)


def max_of_slices(
  maps: Float[Array, "batch height width channels"],
) -> Float[Array, "batch half_height half_width channels"]:
  """Several places that have a window's maximum share its gradient, in some pools; in others the first has it."""
  height, width = maps.shape[1:3]
  padded = jnp.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
  rows = functools.reduce(jnp.maximum, [padded[:, start : start + height : 2] for start in range(3)])
  return functools.reduce(jnp.maximum, [rows[:, :, start : start + width : 2] for start in range(3)])


def max_with_places(
  maps: Float[Array, "batch height width channels"],
) -> Float[Array, "batch half_height half_width channels"]:
  """The first place that has a window's maximum has its gradient; eight bits a window say which place it is."""
  return _max_of_even(to_even_sides(maps))


def to_even_sides(
  maps: Float[Array, "batch height width channels"],
) -> Float[Array, "batch even_height even_width channels"]:
  """Padded below and at the right, where no window reaches over an edge behind an even side."""
  odd_sides = [(0, side % 2) for side in maps.shape[1:3]]
  return jnp.pad(maps, ((0, 0), *odd_sides, (0, 0)), constant_values=-jnp.inf)


@jax.custom_vjp
def _max_of_even(maps):
  return largest_in_windows(maps)[0]


def largest_in_windows(
  maps: Float[Array, "batch height width channels"],
) -> tuple[
  Float[Array, "batch half_height half_width channels"], UInt8[Array, "batch half_height half_width channels"]
]:
  """The maxima of maps of even sides, and the first place of each in its window, as 4 * row + column."""
  padded = jnp.pad(maps, ((0, 0), (1, 0), (1, 0), (0, 0)), constant_values=-jnp.inf)
  height, width = maps.shape[1:3]
  largest = padded[:, :height:2, :width:2]
  places = jnp.zeros(largest.shape, jnp.uint8)
  for row, column in list(itertools.product(range(3), repeat=2))[1:]:
    values = padded[:, row : row + height : 2, column : column + width : 2]
    places = jnp.where(values > largest, jnp.uint8(4 * row + column), places)
    largest = jnp.maximum(values, largest)
  return largest, places


def spread_to_places(
  places: UInt8[Array, "batch half_height half_width channels"],
  gradient: Float[Array, "batch half_height half_width channels"],
) -> Float[Array, "batch height width channels"]:
  """Each window's gradient at its place in the maps; where places coincide, the sum.

  Every two by two pixels (m, n) are in windows (m, n), (m, n + 1), (m + 1, n) and (m + 1, n + 1) alone.
  """
  batch, height, width, channels = gradient.shape
  edge = ((0, 0), (0, 1), (0, 1), (0, 0))
  places, gradient = jnp.pad(places, edge, constant_values=255), jnp.pad(gradient, edge)
  parts = []
  for below, beside in itertools.product(range(2), repeat=2):
    rows, columns = (1 + jnp.arange(2) - 2 * shift for shift in (below, beside))  # of the pixels, in that window
    looked_for = (4 * rows[:, None] + columns)[:, None, :, None].astype(jnp.int8)  # none is at -1
    own_places, own_gradient = (
      windows[:, below : below + height, None, beside : beside + width, None] for windows in (places, gradient)
    )  # [batch, height, 1, width, 1, channels]
    parts.append(jnp.where(own_places == looked_for.astype(jnp.uint8), own_gradient, 0))
  return functools.reduce(jnp.add, parts).reshape(batch, 2 * height, 2 * width, channels)


_max_of_even.defvjp(largest_in_windows, lambda places, gradient: (spread_to_places(places, gradient),))
