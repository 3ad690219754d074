"""Domain conversion on ImageNet: `--config=imagenet_domains:zero_shot` (the default) evaluates.

`data.dir` has Pic2Word's lists.
"""

import ml_collections

from configs import without_training


def get_config(model: str = "zero_shot") -> ml_collections.ConfigDict:
  """From photographs to all four domains."""
  config = without_training.evaluation("imagenet_domains", model)
  config.best_metric = "headline"
  config.eval.allow_unanswerable_queries = True  # of some classes a domain has no image: they count as misses
  config.data.categories = ("cartoon", "origami", "toy", "sculpture")  # any that are asked for
  return config
