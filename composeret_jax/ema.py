"""The exponential moving average of the parameters, kept beside the optimiser's own state, evaluated in their place."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class AveragedState(NamedTuple):
  """`inner` is the state of the optimiser that moves the parameters; `average` has the parameters' own shapes."""

  inner: optax.OptState
  average: Mapping[str, Any]


def with_average(optimizer: optax.GradientTransformation, decay: float) -> optax.GradientTransformation:
  """`optimizer`, followed after each step by average = decay * average + (1 - decay) * parameters.

  The average starts at the first parameters. Living in the optimiser's state, it is saved and placed as that is.
  """

  def init(params):
    # A copy: one buffer cannot be donated twice.
    return AveragedState(optimizer.init(params), jax.tree.map(jnp.copy, params))

  def update(gradients, state, params):
    updates, inner = optimizer.update(gradients, state.inner, params)
    moved = optax.apply_updates(params, updates)
    return updates, AveragedState(inner, optax.incremental_update(moved, state.average, 1 - decay))

  return optax.GradientTransformation(init, update)


def evaluation_params(params: Mapping[str, Any], optimizer_state: optax.OptState) -> Mapping[str, Any]:
  """What to evaluate: the averaged parameters where the optimiser keeps them, otherwise `params` themselves."""
  return optimizer_state.average if isinstance(optimizer_state, AveragedState) else params
