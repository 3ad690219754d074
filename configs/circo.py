"""CIRCO: `--config=circo:compose_ae` (the default) evaluates. `data.dir` is the downloaded folder.

`--mode=eval` and `--mode=submit` take what was trained on another data set.
"""

import ml_collections

from configs import without_training


def get_config(model: str = "compose_ae") -> ml_collections.ConfigDict:
  """The defaults on CIRCO; evaluates on its validation split."""
  config = without_training.evaluation("circo", model)
  config.best_metric = "mAP@5"
  config.protocol = "circo"  # or "circo_with_reference": the reference is ranked too
  return config
