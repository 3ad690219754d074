"""SEARLE: `--config=searle:large,cirr` evaluates a checkpoint (`composeret import --checkpoint=FILE.pt`).

Or base, or another data set. Its training is not part of this project.
"""

import ml_collections

from configs import inversion
from configs.size_and_dataset import parse


def get_config(size_and_dataset: str = "large,cirr") -> ml_collections.ConfigDict:
  """The published texts."""
  return inversion.evaluated("searle", *parse(size_and_dataset, inversion.TOWERS))
