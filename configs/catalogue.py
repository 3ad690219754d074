"""Your own catalogue: `--config=catalogue:compose_ae` (the default). `data.dir` is the folder of images."""

import ml_collections

from configs import base, models, recipes


def get_config(model: str = "compose_ae") -> ml_collections.ConfigDict:
  """Any model; docs/your_catalogue.md says what else to set."""
  config = base.get_config()
  config.model = models.get_config(model)
  config.model.text_encoder.words = "unicode"
  config.protocol = "same_label"
  config.data.dataset = "catalogue"
  # A file of rows with columns reference, text, target[, split, category], or one with image, caption[, split,
  # category]: .csv, .jsonl, .parquet, or hf:FOLDER or hf:OWNER/NAME. Neither: a gallery, nothing to train on or count.
  config.data.triplets = ""
  config.data.captions = ""
  # Of the targets, or the captions, where rows have no column split; 0: all triplets are for training.
  config.data.test_share = 0.1
  # How many images of a row's column negatives stand against its target, the first always, others drawn; 0: none.
  config.data.negatives_per_query = 0
  config.data.allow_missing_images = False  # True leaves out the rows concerned
  recipes.set_recipe(config, model)
  return config
