"""LinCIR: `--config=lincir:large,captions` trains on captions alone; or base.

`large,cirr` (or another data set) evaluates: `composeret eval` what was trained, with that run's
--workdir, or `composeret import --checkpoint=FILE.pt` a published checkpoint.
"""

import ml_collections

from configs import inversion
from configs.size_and_dataset import parse


def get_config(size_and_dataset: str = "large,captions") -> ml_collections.ConfigDict:
  """The published loss, rates, optimiser, steps and batch size."""
  size, dataset = parse(size_and_dataset, inversion.TOWERS, "captions")
  if dataset != "captions":
    return inversion.evaluated("lincir", size, dataset)
  config = inversion.trained("lincir", size, "captions")
  # One caption a line (.txt), or the column caption of .csv, .jsonl, .parquet, hf:FOLDER or hf:OWNER/NAME. A column
  # keywords names the words that are replaced, with | between them or as a list; without it the tagger finds them.
  config.data.captions = ""
  config.data.tagger = "en_core_web_sm"  # spaCy's, by its name or folder
  config.loss = "mean_squared_error"
  config.decay_factor = 1.0  # the rate is constant, however long the run
  config.weight_decay = 0.01
  config.decays_biases = True
  return config
