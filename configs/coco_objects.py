"""Object composition on COCO: `--config=coco_objects:zero_shot`. `data.dir` has Pic2Word's list.

There is nothing to train on: it evaluates what was trained on another data set, with that run's --workdir, or weights
as they come.
"""

import ml_collections

from configs import base, models


def get_config(model: str = "zero_shot") -> ml_collections.ConfigDict:
  """From an object that is cut out, and the names of others, to the image with all of them."""
  config = base.get_config()
  config.model = models.get_config(model)
  config.num_train_steps = 0
  config.protocol = "coco_objects"
  config.data.dataset = "coco_objects"
  return config
