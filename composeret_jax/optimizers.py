"""SGD as the published systems configure it: coupled weight decay, momentum, step decay, a slower image trunk."""

from collections.abc import Mapping

import jax
import ml_collections
import optax

TRUNK = "trunk"


def learning_rate_schedule(config: ml_collections.ConfigDict) -> optax.Schedule:
  """`learning_rate` times `decay_factor` for every `decay_every_steps` steps done."""
  return optax.exponential_decay(config.learning_rate, config.decay_every_steps, config.decay_factor, staircase=True)


def coupled_sgd(
  learning_rate: optax.ScalarOrSchedule, momentum: float, weight_decay: float
) -> optax.GradientTransformation:
  """torch.optim.SGD: weight decay joins every parameter's gradient before the momentum."""
  return optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(learning_rate, momentum))


def build_optimizer(config: ml_collections.ConfigDict) -> optax.GradientTransformation:
  """Coupled SGD on the schedule of `config`; the encoders' trunks move at `trunk_learning_rate_factor` of the rest."""
  scales = {"trunk": optax.scale(config.trunk_learning_rate_factor), "rest": optax.identity()}
  return optax.chain(
    coupled_sgd(learning_rate_schedule(config), config.momentum, config.weight_decay),
    optax.partition(scales, parameter_groups),
  )


def parameter_groups(params: Mapping) -> Mapping:
  """Labels every parameter `trunk` (the image encoder's convolutions and norms, a fine-tuned BERT) or `rest`."""
  return jax.tree_util.tree_map_with_path(lambda path, _: "trunk" if _names(path)[1:2] == (TRUNK,) else "rest", params)


def _names(path: tuple) -> tuple[str, ...]:
  return tuple(str(getattr(entry, "key", getattr(entry, "name", entry))) for entry in path)
