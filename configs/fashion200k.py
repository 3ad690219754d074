"""Fashion200k: `--config=fashion200k:compose_ae` (the default). `data.dir` is the downloaded folder."""

import ml_collections

from configs import base, models, recipes


def get_config(model: str = "compose_ae") -> ml_collections.ConfigDict:
  """The published set-up."""
  config = base.get_config()
  config.model = models.get_config(model)
  config.data.dataset = "fashion200k"
  config.protocol = "fashion200k"
  recipes.set_recipe(config, model)
  return config
