"""CIRCO: `--config=circo:compose_ae` (the default). `data.dir` is the downloaded folder.

There is nothing to train on. `composeret eval` and `composeret submit` evaluate a run of another data set, or
pretrained weights.
"""

import ml_collections

from configs import base, models


def get_config(model: str = "compose_ae") -> ml_collections.ConfigDict:
  """The defaults on CIRCO; evaluates on its validation split."""
  config = base.get_config()
  config.model = models.get_config(model)
  config.num_train_steps = 0
  config.best_metric = "mAP@5"
  config.protocol = "circo"  # or "circo_with_reference": the reference is ranked too
  config.data.dataset = "circo"
  return config
