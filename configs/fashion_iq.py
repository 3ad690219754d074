"""FashionIQ: `--config=fashion_iq:compose_ae` (the default). `data.dir` is the downloaded folder."""

import ml_collections

from configs import base, models, recipes


def get_config(model: str = "compose_ae") -> ml_collections.ConfigDict:
  """ComposeAE's published run; `--config.protocol=fashion_iq_compose_ae` evaluates as it did."""
  config = base.get_config()
  config.model = models.get_config(model)
  config.text_query = "complete"  # category and captions, as ComposeAE; "modification" is CLIP4Cir's text
  config.num_train_steps = 100_000
  config.decay_every_steps = 8_000
  config.best_metric = "headline"
  config.protocol = "fashion_iq"
  config.data.dataset = "fashion_iq"
  config.data.categories = ("dress", "shirt", "toptee")  # any of them, trained on and evaluated together
  config.data.allow_missing_images = False  # True leaves out the queries and gallery images concerned
  recipes.set_recipe(config, model)
  return config
