"""Data sets that have nothing to train on, and what their configurations have in common.

They evaluate what was trained on another data set, with that run's --workdir, or weights as they come.
"""

import ml_collections

from configs import base, models


def evaluation(dataset: str, model: str) -> ml_collections.ConfigDict:
  """The defaults on `dataset`, under the protocol that has its name."""
  config = base.get_config()
  config.model = models.get_config(model)
  config.num_train_steps = 0
  config.data.dataset = config.protocol = dataset
  return config
