"""The one step on all devices, several steps a call: under jit over a mesh, or under pmap."""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree, Shaped
import numpy as np

from composeret_jax.distributed import AXIS
from composeret_jax.train_step.shard import Shard
from composeret_jax.train_step.state import kept_on

PARALLEL = ("jit", "pmap")


# Without it XLA's CPU backend copies, in each step, every parameter that the step then changes in place.
CPU_OPTIONS = {"xla_cpu_copy_insertion_use_region_analysis": True}


@dataclasses.dataclass(frozen=True)
class Parallel:
  """How steps run: `kind` is one of PARALLEL; a call runs `steps_per_call` steps.

  Under jit arrays are global and XLA divides the work. Under pmap each device sees its own rows. Images are whole on
  every device in both, and the state too, unless `splits_state`, which jit alone can: then each device keeps a part of
  the large arrays (state.py).
  """

  kind: str
  mesh: Mesh
  steps_per_call: int
  splits_state: bool = False

  @property
  def axis_name(self) -> str | None:
    """The mapped axis that a step averages over."""
    return AXIS if self.kind == "pmap" else None

  @property
  def num_shards(self) -> int:
    """Over how many devices the rows of an array are split that a step sees."""
    return 1 if self.kind == "pmap" else self.mesh.size

  @property
  def shard(self) -> Shard:
    """The rows of the batch that a function under `on_own_rows` sees."""
    return Shard(AXIS if self.kind == "pmap" or self.mesh.size > 1 else None)

  def on_own_rows(self, function: Callable[[PyTree, PyTree], Array]) -> Callable[[PyTree, PyTree], Array]:
    """`function(rows, whole)` on each device, with its own rows of arrays [batch, ...] and the whole of the others.

    The result is the same on all devices, which `function` sees to by `shard`. It is called within a step.
    """
    if self.kind == "pmap" or self.mesh.size == 1:
      return function

    def on_a_device(rows, whole):
      # Each device has a copy of its own: else a loop that reads it adds up its gradient over devices in each turn.
      return function(rows, jax.lax.pcast(whole, AXIS, to="varying"))

    specs = PartitionSpec(AXIS), PartitionSpec()
    return jax.shard_map(on_a_device, mesh=self.mesh, in_specs=specs, out_specs=PartitionSpec())

  def compile(self, step: Callable) -> Any:  # what pmap gives is no jax.stages.Wrapped
    """(state, batches that `place` gave, images) -> (state, losses [] or [steps]); the state given is used up."""
    steps = step if self.steps_per_call == 1 else scanned(step)
    if self.kind == "jit":
      options = CPU_OPTIONS if self.mesh.devices.flat[0].platform == "cpu" else None
      return jax.jit(self._keeping_parts(steps), donate_argnums=0, compiler_options=options)
    devices = list(self.mesh.devices.flat)
    return jax.pmap(steps, axis_name=AXIS, in_axes=(None, 0, None), out_axes=None, donate_argnums=0, devices=devices)

  def _keeping_parts(self, steps: Callable) -> Callable:
    """`steps`, after which each device has those parts of the state that it had before."""
    if not self.splits_state:
      return steps

    def kept(state, batches, images=None):
      state, losses = steps(state, batches, images)
      return kept_on(self.mesh, state, split=True), losses

    return kept

  def one_batch(
    self, batch: Mapping[str, Array | jax.ShapeDtypeStruct], batch_size: int
  ) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of one step's global batch, from batches that `place` gave."""
    num_leading = 1 + (self.kind == "pmap") + (self.steps_per_call > 1)
    return {
      name: jax.ShapeDtypeStruct((batch_size, *rows.shape[num_leading:]), rows.dtype) for name, rows in batch.items()
    }

  def placed_shapes(self, batch: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes that `place` gives for the batches of one call, from one step's global batch."""
    batch_axis = int(self.steps_per_call > 1)

    def placed(rows):
      shape = (self.steps_per_call,) * batch_axis + rows.shape
      spec = PartitionSpec(*[None] * batch_axis, AXIS)
      if self.kind == "pmap":
        own = len(rows) // self.mesh.size
        shape, spec = (self.mesh.size, *shape[:batch_axis], own, *rows.shape[1:]), PartitionSpec(AXIS)
      return jax.ShapeDtypeStruct(shape, rows.dtype, sharding=NamedSharding(self.mesh, spec))

    return {name: placed(rows) for name, rows in batch.items()}

  def place(self, rows: Shaped[np.ndarray, "..."]) -> Shaped[Array, "..."]:
    """This process's rows, [batch, ...] or [steps, batch, ...], on its devices."""
    batch_axis = int(self.steps_per_call > 1)
    if self.kind == "pmap":  # devices first: a view of the rows, which no thread copies before the devices do
      num_devices = len(self.mesh.local_devices)
      by_device = rows.reshape(*rows.shape[:batch_axis], num_devices, -1, *rows.shape[batch_axis + 1 :])
      rows, batch_axis = np.moveaxis(by_device, batch_axis, 0), 0
    spec = PartitionSpec(*[None] * batch_axis, AXIS)
    return jax.make_array_from_process_local_data(NamedSharding(self.mesh, spec), rows)


def scanned(step: Callable) -> Callable:
  """`step` over batches [steps, batch, ...], one after the other in one call; losses are [steps]."""

  def steps(state, batches, images=None):
    return jax.lax.scan(lambda state, batch: step(state, batch, images), state, batches)

  return steps
