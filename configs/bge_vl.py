"""BGE-VL (MegaPairs): image plus text, both raw, over CLIP's towers: `--config=bge_vl:base,circo`.

Or large; or another data set of configs/size_and_dataset.py. On data sets without training data nothing is trained;
elsewhere the towers are, with the query's own image and what a catalogue's rows give as negatives.
`--config.num_train_steps=0` evaluates the published weights.
"""

import ml_collections

from configs import models
from configs.size_and_dataset import DATASETS, parse

TOWERS = {"base": "BAAI/BGE-VL-base", "large": "BAAI/BGE-VL-large"}


def get_config(size_and_dataset: str = "base,circo") -> ml_collections.ConfigDict:
  """The texts come from the published evaluation, where it has some. Steps, batch size and rates are ours."""
  size, dataset = parse(size_and_dataset, TOWERS)
  config = DATASETS[dataset].get_config("sum")
  models.towers(config.model, TOWERS[size], train=config.num_train_steps > 0)
  config.model.radius = 7.07  # its square, the inverse temperature, is about 50
  config.model.train_radius = False
  config.text_query = "modification"
  config.text_template = "bge_vl" if dataset in ("circo", "fashion_iq") else ""
  config.data.interpolation = "bicubic"  # as CLIP was trained
  if not config.num_train_steps:
    return config
  if dataset == "catalogue":
    config.data.negatives_per_query = 4  # the rows' column negatives, or hns; 0 for rows without
  config.loss = "info_nce"
  config.loss_reference_as_negative = True
  config.optimizer = "adamw"
  config.learning_rate = 1e-5
  config.trunk_learning_rate_factor = 1.0  # there is nothing but towers
  config.weight_decay = 0.01
  config.batch_size = 128
  config.num_train_steps = 4_000
  config.num_warmup_steps = 100
  config.decay = "cosine"
  config.eval_every_steps = 500
  config.checkpoint_every_steps = 500
  return config
