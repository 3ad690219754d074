"""The processes and devices of one job, on one host or many."""

from collections.abc import Callable, Iterator
import contextlib
from typing import Any

import jax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Shaped
import numpy as np

from data_pipelines.input_error import InputError


def join(coordinator_address: str | None, num_processes: int | None, process_id: int | None) -> None:
  """Joins the job's other processes; to be called before anything else of JAX.

  Without arguments the cluster says who they are, where JAX knows it (Slurm, Open MPI, GKE, TPU). Raises InputError for
  some arguments without the others, or when no cluster is found.
  """
  given: dict[str, Any] = {
    "coordinator_address": coordinator_address,
    "num_processes": num_processes,
    "process_id": process_id,
  }
  lacking = [f"--{name}" for name, value in given.items() if value is None]
  if 0 < len(lacking) < len(given):
    needed = ", ".join(f"--{name}" for name in given)
    raise InputError(f"{', '.join(lacking)} not set: a job's processes need all of {needed}")
  try:
    jax.distributed.initialize(**given)
  except ValueError as error:
    raise InputError(f"--distributed: no cluster found that names this job's processes ({error})") from error


def is_first() -> bool:
  """Whether this is the process that writes logs."""
  return jax.process_index() == 0


@contextlib.contextmanager
def first_one_first(what: str) -> Iterator[None]:
  """The first process goes through the block before the others do: they find on the disk what it has made there."""
  if not is_first():
    multihost_utils.sync_global_devices(what)
  yield
  if is_first():
    multihost_utils.sync_global_devices(what)


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


def full_batch(batch_size: int) -> int:
  """`batch_size`, or the next size that the devices can split."""
  num_devices = data_mesh().size
  return -(-batch_size // num_devices) * num_devices


def in_full_batches(
  function: Callable, batch_size: int, *arrays: Shaped[np.ndarray, "num ..."]
) -> Shaped[np.ndarray, "num ..."]:
  """The rows of `function(*rows)`, given `batch_size` rows of the arrays at a time, split over the devices.

  The last batch is filled up with its last row, so that a jitted function compiles once.
  """
  sharding, results = rows_split(data_mesh()), []
  for start in range(0, len(arrays[0]), batch_size):
    rows = [array[start : start + batch_size] for array in arrays]
    filled = [np.concatenate([part, np.repeat(part[-1:], batch_size - len(part), axis=0)]) for part in rows]
    results.append(fetch(function(*(place(part, sharding) for part in filled)))[: len(rows[0])])
  return np.concatenate(results)
