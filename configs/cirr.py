"""CIRR: `--config=cirr:compose_ae` (the default). `data.dir` is the downloaded folder."""

import ml_collections

from configs import base, models, recipes


def get_config(model: str = "compose_ae") -> ml_collections.ConfigDict:
  """The defaults on CIRR; evaluates on its validation split."""
  config = base.get_config()
  config.model = models.get_config(model)
  config.best_metric = "headline"
  config.protocol = "cirr"
  config.data.dataset = "cirr"
  config.data.allow_missing_images = False  # True leaves out the queries and gallery images concerned
  recipes.set_recipe(config, model)
  return config
