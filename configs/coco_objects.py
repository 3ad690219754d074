"""Object composition on COCO: `--config=coco_objects:zero_shot` (the default) evaluates.

`data.dir` has Pic2Word's list.
"""

import ml_collections

from configs import without_training


def get_config(model: str = "zero_shot") -> ml_collections.ConfigDict:
  """From an object that is cut out, and the names of others, to the image with all of them."""
  return without_training.evaluation("coco_objects", model)
