"""CLIP4Cir's first stage on FashionIQ: the towers learn to be added.

`--config=clip4cir_finetune:FOLDER`, the towers' folder or hub repository. `composeret save_towers` then writes
them to a folder, for `configs/clip4cir_combiner.py`.
"""

import ml_collections

from configs import fashion_iq, models


def get_config(towers: str = "openai/clip-vit-base-patch32") -> ml_collections.ConfigDict:
  """Image plus text as composed feature. The steps, batch size and rates are ours."""
  config = fashion_iq.get_config("sum")
  models.towers(config.model, towers, train=True)
  config.model.radius = 10.0  # logits are cosines times 100
  config.model.train_radius = False
  config.text_query = "modification"  # both captions, as CLIP4Cir joins them
  config.data.interpolation = "bicubic"  # as CLIP was trained
  config.optimizer = "adamw"
  config.learning_rate = 2e-6
  config.trunk_learning_rate_factor = 1.0  # there is nothing but towers
  config.weight_decay = 0.01
  config.batch_size = 128
  config.num_train_steps = 4_000
  config.num_warmup_steps = 100
  config.decay = "cosine"
  config.eval_every_steps = 500
  config.checkpoint_every_steps = 500
  return config
