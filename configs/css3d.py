"""CSS3D: `--config=css3d:compose_ae` (the default). `data.dir` is the downloaded folder."""

import ml_collections

from configs import base, models, recipes


def get_config(model: str = "compose_ae") -> ml_collections.ConfigDict:
  """The defaults on CSS3D, whose queries are modifications only."""
  config = base.get_config()
  config.model = models.get_config(model)
  config.data.dataset = "css3d"
  config.protocol = "css3d"
  recipes.set_recipe(config, model)
  return config
