"""One training step as a pure function of arrays."""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray
import optax

from composeret_jax.encoders.projected import Frozen
from composeret_jax.model import RetrievalModel
from composeret_jax.objective import batch_losses


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """Everything that the next step depends on, but the batch.

  `step` counts the steps done. `params`, `batch_stats` and `frozen` hold plain arrays, which pass in and out of jit
  faster than nnx's variables; no step changes `frozen`.
  """

  step: Int[Array, ""]
  params: Mapping[str, Any]
  batch_stats: Mapping[str, Any]
  frozen: Mapping[str, Any]
  optimizer_state: optax.OptState
  key: PRNGKeyArray


TrainStep = Callable[[TrainState, Mapping[str, Array]], tuple[TrainState, dict[str, Float[Array, ""]]]]


def create_state(model: RetrievalModel, optimizer: optax.GradientTransformation, seed: int) -> TrainState:
  """The state before the first step."""
  params, batch_stats, frozen = (nnx.as_pure(nnx.state(model, kind)) for kind in (nnx.Param, nnx.BatchStat, Frozen))
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    batch_stats=batch_stats,
    frozen=frozen,
    optimizer_state=optimizer.init(params),
    key=jax.random.key(seed),
  )


def make_train_step(
  model: RetrievalModel,
  optimizer: optax.GradientTransformation,
  loss_name: str,
  weights: Mapping[str, float],
  loss_block_rows: int = 0,
) -> TrainStep:
  """The step for a model of this structure: (state, batch) -> (state, losses and `gradient_norm`).

  `batch`, `loss_name`, `weights` and `loss_block_rows` are as for `batch_losses`.
  """
  graphdef = nnx.graphdef(model)

  def loss_fn(params, batch_stats, frozen, batch, key):
    # Without the copy batch norm would write its statistics into variables of an outer trace.
    trained = nnx.merge(graphdef, params, batch_stats, frozen, copy=True)
    trained.train()
    losses = batch_losses(trained, batch, key, loss_name=loss_name, weights=weights, loss_block_rows=loss_block_rows)
    return losses["total"], (losses, nnx.as_pure(nnx.state(trained, nnx.BatchStat)))

  def train_step(state, batch):
    key = jax.random.fold_in(state.key, state.step)
    gradients, (losses, batch_stats) = jax.grad(loss_fn, has_aux=True)(
      state.params, state.batch_stats, state.frozen, batch, key
    )
    updates, optimizer_state = optimizer.update(gradients, state.optimizer_state, state.params)
    params = optax.apply_updates(state.params, updates)
    new_state = TrainState(state.step + 1, params, batch_stats, state.frozen, optimizer_state, state.key)
    return new_state, {**losses, "gradient_norm": optax.tree.norm(gradients)}

  return train_step
