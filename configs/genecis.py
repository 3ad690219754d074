"""GeneCIS: `--config=genecis:zero_shot`. `data.dir` is the downloaded folder.

There is nothing to train on: it evaluates what was trained on another data set, with that run's --workdir, or weights
as they come.
"""

import ml_collections

from configs import base, models


def get_config(model: str = "zero_shot") -> ml_collections.ConfigDict:
  """All four tasks; each query ranks a gallery of its own."""
  config = base.get_config()
  config.model = models.get_config(model)
  config.num_train_steps = 0
  config.best_metric = "headline"
  config.protocol = "genecis"
  config.data.dataset = "genecis"
  config.data.categories = ("focus_attribute", "change_attribute", "focus_object", "change_object")  # any tasks
  return config
