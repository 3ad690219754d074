"""The mesh of all devices: batches are split over it by rows, parameters are on every device."""

import jax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Shaped
import numpy as np

AXIS = "data"


def data_mesh() -> Mesh:
  """All devices in one row."""
  return Mesh(np.array(jax.devices()), (AXIS,))


def rows_split(mesh: Mesh) -> NamedSharding:
  """The first axis split over the devices."""
  return NamedSharding(mesh, PartitionSpec(AXIS))


def on_every_device(mesh: Mesh) -> NamedSharding:
  """The whole array on each device."""
  return NamedSharding(mesh, PartitionSpec())


def place(array: Shaped[np.ndarray, "..."], sharding: jax.sharding.Sharding) -> Shaped[Array, "..."]:
  """An array that every process has, on the devices; a process copies only what its own devices hold."""
  return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def fetch(array: Shaped[Array, "..."]) -> Shaped[np.ndarray, "..."]:
  """The whole array, on every process."""
  if array.is_fully_addressable or array.is_fully_replicated:
    return np.asarray(array)
  return multihost_utils.process_allgather(array, tiled=True)
