"""CLIP4Cir's second stage on FashionIQ: the Combiner learns on the features of frozen towers.

`--config=clip4cir_combiner:FOLDER`, the folder that the first stage's `composeret save_towers` wrote, or any
towers' folder or hub repository.
"""

import ml_collections

from configs import fashion_iq, models


def get_config(towers: str = "openai/clip-vit-base-patch32") -> ml_collections.ConfigDict:
  """Each image and text is encoded once; an epoch is 18 steps. The steps, batch size and rates are ours."""
  config = fashion_iq.get_config("combiner")
  models.towers(config.model, towers, train=False)
  config.text_query = "modification"  # both captions, as CLIP4Cir joins them
  config.data.interpolation = "bicubic"  # as CLIP was trained
  config.data.placement = "device"
  config.train.steps_per_call = 6
  config.optimizer = "adamw"
  config.learning_rate = 2e-5
  config.weight_decay = 0.01
  config.batch_size = 1_024
  config.num_train_steps = 1_800
  config.decay = "cosine"
  config.log_every_steps = 18
  config.eval_every_steps = 180
  config.checkpoint_every_steps = 180
  return config
