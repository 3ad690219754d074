"""The step that a configuration describes, and the shapes that it is called with: to be compiled, not run."""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

from flax import nnx
import jax
from jax.sharding import Mesh
import ml_collections
import optax

from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.train_step.optimizers import build_optimizer
from composeret_jax.train_step.parallel import Parallel
from composeret_jax.train_step.state import create_state, state_sharding, TrainState
from composeret_jax.train_step.step import make_train_step
from composeret_jax.training.planning.stand_ins import (
  batch_shapes,
  DataSizes,
  model_shapes,
  nothing_mined,
  resident_shapes,
)
from composeret_jax.training.profiling import program_flops, repeated_flops


@dataclasses.dataclass(frozen=True)
class AbstractStep:
  """A step of `config`, a run's whole configuration, on a mesh. `state`, `batches` and `images` hold shapes alone.

  They have the shardings that arrays have in training. `state` has a TrainState's fields by name; `batches` belong
  to one call.
  """

  config: ml_collections.ConfigDict
  model: RetrievalModel
  optimizer: optax.GradientTransformation
  parallel: Parallel
  state: Mapping[str, Any]
  batches: Mapping[str, Any]
  images: Any

  @classmethod
  def of(cls, config: ml_collections.ConfigDict, mesh: Mesh, sizes: DataSizes, memory_bytes: int) -> "AbstractStep":
    """The step of a configuration that `check_config` accepts, with a data set of these sizes.

    Each device has `memory_bytes`. Raises InputError for files of encoders that cannot be read, for sizes that are
    missing, and for images that the devices should hold and cannot.
    """
    model, optimizer = model_shapes(config, sizes), build_optimizer(config)
    split = config.parallel_state == "split"
    parallel = Parallel(config.parallel, mesh, config.train.steps_per_call, split)
    structure, variables = nnx.split(model)

    def first_state(variables: Any) -> dict[str, Any]:
      state = create_state(nnx.merge(structure, variables), optimizer, config.seed)
      return _fields(dataclasses.replace(state, negatives=nothing_mined(config, sizes)))

    def kept(path: tuple, shape: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
      sharding = state_sharding(mesh, path, shape.shape, split=split)
      return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding)

    return cls(
      config=config,
      model=model,
      optimizer=optimizer,
      parallel=parallel,
      state=jax.tree_util.tree_map_with_path(kept, jax.eval_shape(first_state, variables)),
      batches=parallel.placed_shapes(batch_shapes(config, model, sizes)),
      images=resident_shapes(config, mesh, sizes, memory_bytes),
    )

  def lower(self) -> jax.stages.Lowered:
    """The step as training calls it, ready to be compiled for the devices of the mesh."""
    return self.parallel.compile(self._step(self.config, self.parallel)).lower(self.state, self.batches, self.images)

  def model_flops(self) -> float:
    """The model's operations on the global batch, without those that a microbatch does a second time."""
    config = self.config.copy_and_resolve_references()
    config.train.num_microbatches = 1
    return program_flops(self._step(config), self.state, self._one_batch(), self.images)

  def repeated_flops(self) -> float:
    """Operations on the global batch in iterations of loops after the first, which the compiler leaves uncounted."""
    platform = self.parallel.mesh.devices.flat[0].platform
    step = self._step(self.config)
    return repeated_flops(step, self.state, self._one_batch(), self.images, platform=platform)

  def _step(self, config: ml_collections.ConfigDict, parallel: Parallel | None = None) -> Callable:
    """The step with a state's fields in place of the state."""
    step = make_train_step(self.model, self.optimizer, config, parallel)

    def of_fields(fields, batch, images):
      state, losses = step(TrainState(**fields), batch, images)
      return _fields(state), losses

    return of_fields

  def _one_batch(self) -> dict[str, jax.ShapeDtypeStruct]:
    return self.parallel.one_batch(self.batches, self.config.batch_size)


def _fields(state: TrainState) -> dict[str, Any]:
  return {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
