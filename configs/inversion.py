"""Parts of the configurations of textual inversion: towers, texts, training and evaluation."""

import ml_collections

from configs import base, models
from configs.size_and_dataset import DATASETS

TOWERS = {"base": "openai/clip-vit-base-patch32", "large": "openai/clip-vit-large-patch14"}


# Around a caption, where no text for the data set is published; and where one is.
PROMPTS = {
  "pic2word": "a photo of * , {caption}",
  "searle": "a photo of $ that {caption}",
  "lincir": "a photo of $ that {caption}",
}


PUBLISHED = {
  "pic2word": ("cirr", "fashion_iq", "imagenet_domains", "coco_objects"),
  "searle": ("circo", "cirr", "fashion_iq"),
  "lincir": ("circo", "cirr", "fashion_iq", "genecis"),
}


def evaluated(composer: str, size: str, dataset: str) -> ml_collections.ConfigDict:
  """A data set with images, to evaluate on what was trained or imported; the texts are the published ones."""
  config = DATASETS[dataset].get_config("zero_shot")
  config.model = models.inversion(composer, TOWERS[size])
  config.num_train_steps = 0
  config.text_query = "modification"
  config.text_template = composer if dataset in PUBLISHED[composer] else PROMPTS[composer]
  config.data.interpolation = "bicubic"  # as CLIP was trained
  if dataset == "circo" and dataset in PUBLISHED[composer]:
    config.protocol = "circo_with_reference"  # as published
  return config


def trained(composer: str, size: str, dataset: str) -> ml_collections.ConfigDict:
  """A data set of images or captions alone; batch size and steps are for one device of 80 GB."""
  config = base.get_config()
  config.model = models.inversion(composer, TOWERS[size])
  config.protocol = "with_reference"
  config.data.dataset = dataset
  config.data.test_share = 0.01  # of the images or captions: how well a word stands for them
  config.data.interpolation = "bicubic"
  config.optimizer = "adamw"
  config.learning_rate = 1e-4
  config.batch_size = 512
  config.num_train_steps = 20_000
  config.decay_every_steps = 20_000
  config.eval_every_steps = 1_000
  return config
