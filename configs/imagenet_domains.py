"""Domain conversion on ImageNet: `--config=imagenet_domains:zero_shot`. `data.dir` has Pic2Word's lists.

There is nothing to train on: it evaluates what was trained on another data set, with that run's --workdir, or weights
as they come.
"""

import ml_collections

from configs import base, models


def get_config(model: str = "zero_shot") -> ml_collections.ConfigDict:
  """From photographs to all four domains."""
  config = base.get_config()
  config.model = models.get_config(model)
  config.num_train_steps = 0
  config.best_metric = "headline"
  config.protocol = "imagenet_domains"
  config.eval.allow_unanswerable_queries = True  # of some classes a domain has no image: they count as misses
  config.data.dataset = "imagenet_domains"
  config.data.categories = ("cartoon", "origami", "toy", "sculpture")  # any that are asked for
  return config
