"""Optimisers and their learning rate; by default SGD as the published systems configure it, with a slower trunk."""

from collections.abc import Callable, Mapping
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
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
  """The parameters to evaluate: the averaged ones where the optimiser keeps them, otherwise `params` themselves."""
  return optimizer_state.average if isinstance(optimizer_state, AveragedState) else params


# Names of modules' parts: what brings its weights with it; its layers; what comes before these.
TRUNK, LAYERS, BEFORE_LAYERS = "trunk", "layers", ("embeddings", "input_norm")


# What the learning rate is multiplied by when the batch is `ratio` times the one that it is for.
LEARNING_RATE_SCALINGS: dict[str, Callable[[float], float]] = {
  "none": lambda ratio: 1.0,
  "linear": lambda ratio: ratio,
  "square_root": math.sqrt,
}


def peak_learning_rate(config: ml_collections.ConfigDict) -> float:
  """`learning_rate`, scaled from `learning_rate_batch_size` to `batch_size`."""
  scaling = LEARNING_RATE_SCALINGS[config.learning_rate_scaling]
  return config.learning_rate * scaling(config.batch_size / config.learning_rate_batch_size)


DECAYS = ("step", "cosine")


def learning_rate_schedule(config: ml_collections.ConfigDict) -> optax.Schedule:
  """Rises linearly over `num_warmup_steps`, the last of which has the full rate, then decays from there.

  "step" takes `decay_factor` for every `decay_every_steps` steps done since the warm-up; "cosine" falls along half a
  cosine to zero at `num_train_steps`.
  """
  peak, num_steps = peak_learning_rate(config), config.num_warmup_steps
  if config.decay == "cosine":
    # A run of no steps has an optimiser too.
    decay = optax.cosine_decay_schedule(peak, max(config.num_train_steps - num_steps, 1))
  else:
    decay = optax.exponential_decay(peak, config.decay_every_steps, config.decay_factor, staircase=True)
  if not num_steps:
    return decay
  return optax.join_schedules([optax.linear_schedule(peak / num_steps, peak, num_steps - 1), decay], [num_steps])


def coupled_sgd(
  learning_rate: optax.ScalarOrSchedule, momentum: float, weight_decay: float
) -> optax.GradientTransformation:
  """torch.optim.SGD: weight decay joins every parameter's gradient before the momentum."""
  return optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(learning_rate, momentum))


def adamw(learning_rate: optax.ScalarOrSchedule, config: ml_collections.ConfigDict) -> optax.GradientTransformation:
  """AdamW with `momentum` as its first decay; biases and norms decay with `decays_biases` alone."""
  return optax.adamw(
    learning_rate,
    b1=config.momentum,
    b2=config.adam_b2,
    eps=config.adam_epsilon,
    weight_decay=config.weight_decay,
    mask=None if config.decays_biases else _are_matrices,
  )


def lars(learning_rate: optax.ScalarOrSchedule, config: ml_collections.ConfigDict) -> optax.GradientTransformation:
  """LARS; biases and norms neither decay nor take a trust ratio, and so move as under SGD."""
  return optax.lars(
    learning_rate,
    config.weight_decay,
    weight_decay_mask=_are_matrices,
    trust_ratio_mask=_are_matrices,
    momentum=config.momentum,
  )


def lamb(learning_rate: optax.ScalarOrSchedule, config: ml_collections.ConfigDict) -> optax.GradientTransformation:
  """LAMB with `momentum` as its first decay; biases and norms neither decay nor take a trust ratio."""
  # optax.lamb, but for its trust ratio, which cannot be masked there.
  return optax.chain(
    optax.scale_by_adam(b1=config.momentum, eps=1e-6),
    optax.add_decayed_weights(config.weight_decay, _are_matrices),
    optax.masked(optax.scale_by_trust_ratio(), _are_matrices),
    optax.scale_by_learning_rate(learning_rate),
  )


# Each from a learning rate and a whole configuration.
OPTIMIZERS: dict[str, Callable[[optax.Schedule, ml_collections.ConfigDict], optax.GradientTransformation]] = {
  "sgd": lambda learning_rate, config: coupled_sgd(learning_rate, config.momentum, config.weight_decay),
  "adamw": adamw,
  "lars": lars,
  "lamb": lamb,
}


def build_optimizer(config: ml_collections.ConfigDict) -> optax.GradientTransformation:
  """The optimiser of `config` on its schedule; the encoders' trunks move at `trunk_learning_rate_factor` of the rest.

  Of a BERT or a tower, the i-th layer from the top moves at `layer_learning_rate_factor`**i of that, and what comes
  before the layers slower than all of them.

  Clips the gradient's global norm at `max_gradient_norm` and averages the parameters with `ema_decay` where these are
  above zero.
  """
  scales = {"trunk": optax.scale(config.trunk_learning_rate_factor), "rest": optax.identity()}
  optimizer = optax.chain(
    OPTIMIZERS[config.optimizer](learning_rate_schedule(config), config),
    optax.partition(scales, parameter_groups),
  )
  if config.layer_learning_rate_factor != 1:
    optimizer = optax.chain(optimizer, scale_layers(config.layer_learning_rate_factor))
  if config.max_gradient_norm:
    optimizer = optax.chain(optax.clip_by_global_norm(config.max_gradient_norm), optimizer)
  return with_average(optimizer, config.ema_decay) if config.ema_decay else optimizer


def parameter_groups(params: Mapping) -> Mapping:
  """Labels every parameter `trunk` (a ResNet's convolutions and norms, a fine-tuned BERT or tower) or `rest`."""
  return jax.tree_util.tree_map_with_path(lambda path, _: "trunk" if _names(path)[1:2] == (TRUNK,) else "rest", params)


def scale_layers(factor: float) -> optax.GradientTransformation:
  """Multiplies updates of the trunks' parameters by `factor`, as often as there are layers above them."""
  return optax.stateless(
    lambda updates, _: jax.tree.map(lambda update, depth: update * factor**depth, updates, layers_above(updates))
  )


def layers_above(params: Mapping) -> Mapping:
  """For every parameter, how many of its trunk's layers stand above it; 0 outside trunks and behind the layers."""
  num_layers = {
    encoder: len(parts[TRUNK][LAYERS])
    for encoder, parts in params.items()
    if isinstance(parts, Mapping) and LAYERS in parts.get(TRUNK, {})
  }

  def depth(path: tuple, _) -> int:
    encoder, group, part, *rest = (*_names(path), "", "")
    if group != TRUNK or encoder not in num_layers:
      return 0
    if part == LAYERS:
      return num_layers[encoder] - 1 - int(rest[0])
    return num_layers[encoder] if part in BEFORE_LAYERS else 0

  return jax.tree_util.tree_map_with_path(depth, params)


def _are_matrices(params: Mapping) -> Mapping:
  """False for biases, norms and single numbers."""
  return jax.tree.map(lambda param: param.ndim > 1, params)


def _names(path: tuple) -> tuple[str, ...]:
  return tuple(str(getattr(entry, "key", getattr(entry, "name", entry))) for entry in path)
