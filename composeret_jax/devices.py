"""The mesh of all devices: batches are split over it by rows, parameters are on every device."""

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
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
