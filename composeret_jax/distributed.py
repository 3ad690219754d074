"""The processes and devices of one job, on one host or many."""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import dataclasses
import math
from typing import Any, TypeVar

import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, PyTree, Shaped
import numpy as np

from data_pipelines.input_error import InputError

Tree = TypeVar("Tree", bound=PyTree)


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
GATHERED_BYTES = 2**26  # that a process sends to the others at a time


def data_mesh() -> Mesh:
  """All devices in one row."""
  return Mesh(np.array(jax.devices()), (AXIS,))


def rows_split(mesh: Mesh) -> NamedSharding:
  """The first axis split over the devices."""
  return NamedSharding(mesh, PartitionSpec(AXIS))


def on_every_device(mesh: Mesh | AbstractMesh) -> NamedSharding:
  """The whole array on each device."""
  return NamedSharding(mesh, PartitionSpec())


MIN_SPLIT_SIZE = 2**16  # numbers; to gather a smaller array costs more than it frees


def part_or_whole(mesh: Mesh | AbstractMesh, shape: tuple[int, ...], *, split: bool) -> NamedSharding:
  """An array of a train state: with `split`, from MIN_SPLIT_SIZE numbers on, a part of it on each device.

  It is split along the axis that makes most parts, the largest of those: as many parts as its size and the number of
  devices have as common divisor. Where parts are fewer than devices, as with 1,152 rows on 256 devices, several devices
  have the same part. An array without such an axis is whole on each device.
  """
  axes = ((math.gcd(size, mesh.size), size, -axis) for axis, size in enumerate(shape))
  parts, _, place = max(axes, default=(1, 1, 0))
  if not split or math.prod(shape) < MIN_SPLIT_SIZE or parts == 1:
    return on_every_device(mesh)
  return NamedSharding(_in_groups(mesh, parts), PartitionSpec(*[None] * -place, AXIS))


def _in_groups(mesh: Mesh | AbstractMesh, size: int) -> Mesh | AbstractMesh:
  """The same devices in rows of `size`, along which arrays are split."""
  if size == mesh.size:
    return mesh
  shape, names = (mesh.size // size, size), ("copies", AXIS)
  return AbstractMesh(shape, names) if isinstance(mesh, AbstractMesh) else Mesh(mesh.devices.reshape(shape), names)


def unsplit(arrays: Tree) -> Tree:
  """The arrays, each of them whole on every device, where some are split over a mesh; else unchanged."""
  meshes = [leaf.sharding.mesh for leaf in jax.tree.leaves(arrays) if not leaf.is_fully_replicated]
  return jax.device_put(arrays, on_every_device(meshes[0])) if meshes else arrays


def place(array: Shaped[np.ndarray, "..."], sharding: jax.sharding.Sharding) -> Shaped[Array, "..."]:
  """An array that every process has, on the devices; a process copies only what its own devices hold."""
  return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def fetch(array: Shaped[Array, "..."]) -> Shaped[np.ndarray, "..."]:
  """The whole array, on every process."""
  if array.is_fully_addressable or array.is_fully_replicated:
    return np.asarray(array)
  return multihost_utils.process_allgather(array, tiled=True)


def own_share(num: int, process: int | None = None) -> range:
  """The rows of `num` that are a process's, by default this one's: side by side, one more or less than the others'."""
  process, num_processes = jax.process_index() if process is None else process, jax.process_count()
  return range(num * process // num_processes, num * (process + 1) // num_processes)


def share_sizes(num: int) -> list[int]:
  """How many rows of `num` each process has."""
  return [len(own_share(num, process)) for process in range(jax.process_count())]


def largest_share(num: int) -> int:
  """The most rows of `num` that are one process's."""
  return -(-num // jax.process_count())


def own_batch(batch_size: int) -> int:
  """How many rows a process has on its devices at once, with `batch_size` on each."""
  return batch_size * jax.local_device_count()


def in_own_batches(
  function: Callable, batch_size: int, most: int, *arrays: Shaped[np.ndarray, "num ..."]
) -> Shaped[np.ndarray, "num ..."]:
  """The rows of `function(*rows)` for this process's rows, on all devices, with `batch_size` rows on each at a time.

  All processes call this together, each with its own rows, of which none has more than `most`. Missing rows are filled
  in, so that a jitted function compiles once.
  """
  sharding, size, results = rows_split(data_mesh()), own_batch(batch_size), []
  for start in range(0, most, size):
    parts = [array[start : start + size] for array in arrays]
    filled = [np.concatenate([part, np.resize(part[-1:], (size - len(part), *part.shape[1:]))]) for part in parts]
    placed = (jax.make_array_from_process_local_data(sharding, part) for part in filled)
    shards = jax.device_put(function(*placed), sharding).addressable_shards
    in_order = sorted(shards, key=lambda shard: shard.index[0].start or 0)
    results.append(np.concatenate([np.asarray(shard.data) for shard in in_order])[: len(parts[0])])
  return np.concatenate(results)


def gather(rows: Shaped[np.ndarray, "num ..."], counts: Sequence[int]) -> Shaped[np.ndarray, "total ..."]:
  """The rows of all processes one after the other, to the bit, on every process; `counts` says how many each has."""
  if len(counts) == 1:
    return rows
  row_bytes = rows.itemsize * math.prod(rows.shape[1:])
  gathered: list[list[np.ndarray]] = [[] for _ in counts]
  size = max(GATHERED_BYTES // row_bytes, 1)
  for start in range(0, max(counts), size):
    part = np.zeros((min(size, max(counts) - start), row_bytes), np.uint8)
    own = np.ascontiguousarray(rows[start : start + size])
    part[: len(own)] = own.view(np.uint8).reshape(len(own), row_bytes)
    for process, of_all in enumerate(multihost_utils.process_allgather(part)):
      gathered[process].append(of_all[: max(counts[process] - start, 0)])
  joined = np.concatenate([part for parts in gathered for part in parts])
  return joined.view(rows.dtype).reshape(-1, *rows.shape[1:])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SplitRows:
  """An array [num, ...] of which each device of a mesh holds an equal part of the rows; `self[rows]` gathers some.

  `parts` is the array, padded to a multiple of the number of devices.
  """

  parts: Shaped[Array, "padded ..."]
  num: int = dataclasses.field(metadata={"static": True})
  mesh: Mesh = dataclasses.field(metadata={"static": True})

  @classmethod
  def of(cls, array: Shaped[np.ndarray, "num ..."], mesh: Mesh) -> "SplitRows":
    """Places an array that every process has, or maps; a process reads only the rows that its own devices hold."""
    size = -(-len(array) // mesh.size) * mesh.size

    def read(index):
      start, stop, _ = index[0].indices(size)
      rows = array[start:stop]
      return np.pad(rows, [(0, stop - start - len(rows))] + [(0, 0)] * (rows.ndim - 1))

    return cls(jax.make_array_from_callback((size, *array.shape[1:]), rows_split(mesh), read), len(array), mesh)

  def __len__(self) -> int:
    return self.num

  def __getitem__(self, rows: Int[Array, "num_rows ..."]) -> Shaped[Array, "num_rows ..."]:
    """The rows, split over the devices, of which `num_rows` is a multiple; within jit.

    Each device looks all of them up in its own part, which leaves zeros for the others', and the sum of one row over
    the devices goes to the device that has its place in the batch.
    """

    def gather(part, own):
      places = jax.lax.all_gather(own, AXIS, tiled=True) - jax.lax.axis_index(AXIS) * len(part)
      is_here = (places >= 0) & (places < len(part))
      found = part[jnp.where(is_here, places, 0)]
      found = jnp.where(jnp.expand_dims(is_here, range(is_here.ndim, found.ndim)), found, 0)
      return jax.lax.psum_scatter(found, AXIS, tiled=True)

    split = PartitionSpec(AXIS)
    return jax.shard_map(gather, mesh=self.mesh, in_specs=(split, split), out_specs=split)(self.parts, rows)
