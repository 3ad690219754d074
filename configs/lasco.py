"""LaSCo: `--config=lasco:compose_ae` (the default). `data.dir` is the downloaded folder."""

import ml_collections

from configs import base, models, recipes


def get_config(model: str = "compose_ae") -> ml_collections.ConfigDict:
  """The defaults on LaSCo; evaluates on its validation split."""
  config = base.get_config()
  config.model = models.get_config(model)
  config.protocol = "same_label"
  config.data.dataset = "lasco"
  recipes.set_recipe(config, model)
  return config
