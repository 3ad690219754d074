"""MIT-States: `--config=mit_states:compose_ae` (the default). `data.dir` is the downloaded folder."""

import ml_collections

from configs import base, models, recipes


def get_config(model: str = "compose_ae") -> ml_collections.ConfigDict:
  """The published set-up."""
  config = base.get_config()
  config.model = models.get_config(model)
  config.data.dataset = "mit_states"
  config.protocol = "mit_states"
  config.weight_decay = 5e-5
  recipes.set_recipe(config, model)
  return config
