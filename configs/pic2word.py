"""Pic2Word: `--config=pic2word:large,images` trains on any folder of images; or base.

`large,cirr` (or another data set) evaluates: `composeret eval` what was trained, with that run's
--workdir, or `composeret import --checkpoint=FILE.pt` a published checkpoint.
"""

import ml_collections

from configs import inversion
from configs.size_and_dataset import parse


def get_config(size_and_dataset: str = "large,images") -> ml_collections.ConfigDict:
  """The published loss, rates and optimiser; batch size, steps and warm-up are ours."""
  size, dataset = parse(size_and_dataset, inversion.TOWERS, "images")
  if dataset != "images":
    return inversion.evaluated("pic2word", size, dataset)
  config = inversion.trained("pic2word", size, "images")
  config.data.prompt = "a photo of *"  # the text of every image, which the star stands for
  config.loss = "info_nce"
  config.weight_decay = 0.1
  config.adam_b2 = 0.98
  config.adam_epsilon = 1e-6
  config.num_warmup_steps = 1_000
  config.decay = "cosine"
  return config
