"""The state of training: everything that the next step depends on, but the batch."""

from collections.abc import Mapping
import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray
import optax

from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.models.variables import Variables, variables_of
from composeret_jax.train_step.optimizers import evaluation_params


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """Everything that the next step depends on, but the batch.

  `step` counts the steps done. `num_skipped` counts the steps that changed nothing, and `num_skipped_in_a_row` those
  since the last step that changed something. `negatives` holds the hard negatives that were mined last, or is empty:
  `rows` [num_images, num] are the rows of training images for each training image, and `labels` [num_images] are the
  labels of all training images as numbers.
  """

  step: Int[Array, ""]
  variables: Variables
  optimizer_state: optax.OptState
  key: PRNGKeyArray
  num_skipped: Int[Array, ""]
  num_skipped_in_a_row: Int[Array, ""]
  negatives: Mapping[str, Int[Array, "..."]] = dataclasses.field(default_factory=dict)


def create_state(model: RetrievalModel, optimizer: optax.GradientTransformation, seed: int) -> TrainState:
  """The state before the first step, of the model's current variables."""
  variables = variables_of(model)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    variables=variables,
    optimizer_state=optimizer.init(variables.params),
    key=jax.random.key(seed),
    num_skipped=jnp.zeros((), jnp.int32),
    num_skipped_in_a_row=jnp.zeros((), jnp.int32),
  )


def evaluated_variables(state: TrainState) -> Variables:
  """The variables to evaluate: with the averaged parameters, where the optimiser keeps an average."""
  return state.variables._replace(params=evaluation_params(state.variables.params, state.optimizer_state))
