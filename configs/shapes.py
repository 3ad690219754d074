"""The embedded data: `--config=shapes`. A small model that a laptop trains in minutes."""

import ml_collections

from configs import base, models, recipes


def get_config(model: str = "compose_ae") -> ml_collections.ConfigDict:
  """From scratch in a few minutes on two cores."""
  config = base.get_config()
  config.model = models.get_config(model)
  config.model.image_encoder.width = 16
  config.model.image_encoder.stage_sizes = (1, 1, 1, 1)
  config.model.image_encoder.feature_dim = 128
  config.model.text_encoder.words = "unicode"
  config.model.text_encoder.embedding_dim = 64
  config.model.text_encoder.feature_dim = 128
  config.data.dataset = "shapes"
  config.data.image_size = 64
  config.data.num_workers = 0
  config.protocol = "same_label"
  config.trunk_learning_rate_factor = 1.0
  config.batch_size = 64
  config.num_train_steps = 400
  config.decay_every_steps = 300
  config.eval_every_steps = 400
  config.checkpoint_every_steps = 200
  recipes.set_recipe(config, model)
  return config
