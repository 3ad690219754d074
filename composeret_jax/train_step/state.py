"""The state of training: everything that the next step depends on, but the batch."""

from collections.abc import Mapping
import dataclasses
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh, NamedSharding
from jaxtyping import Array, Int, PRNGKeyArray
import optax

from composeret_jax.distributed import part_or_whole, unsplit
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.models.variables import Variables, variables_of
from composeret_jax.train_step.optimizers import AveragedState, evaluation_params

PARALLEL_STATES = ("replicated", "split")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """Everything that the next step depends on, but the batch.

  `step` counts the steps done. `num_skipped` counts the steps that changed nothing, and `num_skipped_in_a_row` those
  since the last step that changed something. `negatives` holds the hard negatives that were mined last, or is empty:
  `rows` [num_images, num] are the rows of training images for each training image, and `labels` [num_images] are the
  labels of all training images as numbers. `averaged_batch_stats` is the average of the batch statistics where the
  optimiser keeps one of the parameters, and else empty.
  """

  step: Int[Array, ""]
  variables: Variables
  optimizer_state: optax.OptState
  key: PRNGKeyArray
  num_skipped: Int[Array, ""]
  num_skipped_in_a_row: Int[Array, ""]
  negatives: Mapping[str, Int[Array, "..."]] = dataclasses.field(default_factory=dict)
  averaged_batch_stats: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def create_state(model: RetrievalModel, optimizer: optax.GradientTransformation, seed: int) -> TrainState:
  """The state before the first step, of the model's current variables."""
  return state_of(variables_of(model), optimizer, seed)


def state_of(variables: Variables, optimizer: optax.GradientTransformation, seed: int) -> TrainState:
  """The state before the first step."""
  optimizer_state = optimizer.init(variables.params)
  averages = isinstance(optimizer_state, AveragedState)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    variables=variables,
    optimizer_state=optimizer_state,
    key=jax.random.key(seed),
    num_skipped=jnp.zeros((), jnp.int32),
    num_skipped_in_a_row=jnp.zeros((), jnp.int32),
    # A copy: one buffer cannot be donated twice.
    averaged_batch_stats=jax.tree.map(jnp.copy, variables.batch_stats) if averages else {},
  )


Kept = TypeVar("Kept", "TrainState", Mapping[str, Any])


def state_sharding(mesh: Mesh | AbstractMesh, path: tuple, shape: tuple[int, ...], *, split: bool) -> NamedSharding:
  """The sharding of the array at a path of a train state, or of a mapping of its fields.

  Every array is whole on every device. With `split` parameters are split over the devices by `part_or_whole`, and so
  are the optimiser's state, its average of the parameters, and the hard negatives that were mined.
  """
  names = tuple(str(getattr(key, "name", getattr(key, "key", key))) for key in path[:2])
  may_split = names == ("variables", "params") or names[0] in ("optimizer_state", "negatives")
  return part_or_whole(mesh, shape, split=split and may_split)


def kept_on(mesh: Mesh, state: Kept, *, split: bool) -> Kept:
  """The state, or a mapping of its fields, as devices keep it by `state_sharding`; called within a jitted function."""

  def constrained(path, array):
    return jax.lax.with_sharding_constraint(array, state_sharding(mesh, path, array.shape, split=split))

  return jax.tree_util.tree_map_with_path(constrained, state)


def evaluated_variables(state: TrainState) -> Variables:
  """The variables to evaluate, whole: averaged parameters and batch statistics, where the run keeps an average."""
  _, batch_stats, frozen = state.variables
  params = evaluation_params(state.variables.params, state.optimizer_state)
  return unsplit(Variables(params, state.averaged_batch_stats or batch_stats, frozen))
