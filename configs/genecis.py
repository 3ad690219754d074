"""GeneCIS: `--config=genecis:zero_shot` (the default) evaluates. `data.dir` is the downloaded folder."""

import ml_collections

from configs import without_training


def get_config(model: str = "zero_shot") -> ml_collections.ConfigDict:
  """All four tasks; each query ranks a gallery of its own."""
  config = without_training.evaluation("genecis", model)
  config.best_metric = "headline"
  config.data.categories = ("focus_attribute", "change_attribute", "focus_object", "change_object")  # any tasks
  return config
