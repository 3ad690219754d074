"""The state of training: everything that the next step depends on, but the batch."""

from collections.abc import Mapping
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray
import optax

from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.models.variables import Variables, variables_of
from composeret_jax.train_step.optimizers import AveragedState, evaluation_params


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
  variables = variables_of(model)
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


def evaluated_variables(state: TrainState) -> Variables:
  """The variables to evaluate: averaged parameters and batch statistics, where the run keeps an average."""
  _, batch_stats, frozen = state.variables
  params = evaluation_params(state.variables.params, state.optimizer_state)
  return Variables(params, state.averaged_batch_stats or batch_stats, frozen)
