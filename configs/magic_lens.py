"""MagicLens: `--config=magic_lens:base,fashion_iq`; or large; or another data set.

configs/size_and_dataset.py lists the data sets.
`--mode=import --checkpoint=FILE.pkl` starts from a published checkpoint; without, training starts from CLIP's weights.
CLIP's folder or hub repository is needed in both: it has the tokenizer.
"""

import ml_collections

from configs import models
from configs.size_and_dataset import DATASETS, parse

CLIP = {"base": "openai/clip-vit-base-patch16", "large": "openai/clip-vit-large-patch14"}
WITH_TEXTS = ("fashion_iq", "circo", "imagenet_domains")  # the published program has a template for these


def get_config(size_and_dataset: str = "base,fashion_iq") -> ml_collections.ConfigDict:
  """The published rates and texts; batch size and steps are for one device of 80 GB."""
  size, dataset = parse(size_and_dataset, CLIP)
  config = DATASETS[dataset].get_config("magic_lens")
  models.towers(config.model, CLIP[size], train=True)
  config.model.composer_options.num_heads = {"base": 8, "large": 16}[size]
  config.model.text_encoder.update(unseen_id=0, plain_signs=True)
  config.text_query = "modification"
  config.text_template = "magic_lens" if dataset in WITH_TEXTS else ""
  config.data.resize = "magic_lens"
  if dataset == "circo":
    config.protocol = "circo_with_reference"  # as published
  config.loss = "batch_based_classification"  # from queries to targets, as published
  config.loss_reference_as_negative = True
  config.optimizer = "adamw"
  config.learning_rate = 2e-5  # of the new layers; CLIP's move at a tenth
  config.weight_decay = 0.01
  config.batch_size = 256
  config.max_gradient_norm = 1.0
  if config.num_train_steps:  # there is something to train on
    config.num_train_steps = 10_000
    config.num_warmup_steps = 100
    config.decay = "cosine"
    config.eval_every_steps = 1_000
  return config
