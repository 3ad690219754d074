"""How a model is trained where flags say nothing else: by the published recipe, unless it has one of its own."""

from collections.abc import Callable

import ml_collections

# Data sets that gain from siblings. For catalogues with captions they cost as much as they gain: docs/results.md.
WITH_SIBLINGS = ("fashion200k", "mit_states", "shapes")


def set_recipe(config: ml_collections.ConfigDict, model: str) -> None:
  """Changes `config`, the whole configuration of a data set, where `model` has a recipe of its own."""
  if model in RECIPES:
    RECIPES[model](config)


def rotor(config: ml_collections.ConfigDict) -> None:
  """From random weights: a tenth of the steps warm up, a quarter of each batch are siblings for WITH_SIBLINGS.

  Both follow `num_train_steps` and `batch_size` when flags change these. docs/rotor_choices.md has the measurements.
  """
  config.loss = "info_nce"
  config.optimizer = "adamw"
  config.learning_rate = 0.001
  config.trunk_learning_rate_factor = 1.0
  config.weight_decay = 5e-5
  config.num_warmup_steps = config.get_ref("num_train_steps") // 10
  config.decay = "cosine"
  if config.data.dataset in WITH_SIBLINGS:
    config.data.siblings_per_batch = config.get_ref("batch_size") // 4


RECIPES: dict[str, Callable[[ml_collections.ConfigDict], None]] = {"rotor": rotor}
