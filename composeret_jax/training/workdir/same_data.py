"""Whether a data set holds what a checkpoint was made with, wherever its files are."""

import sys

import ml_collections

from composeret_jax.distributed import is_first
from composeret_jax.training.checkpoints import MadeWith
from data_pipelines.dataset import Dataset
from data_pipelines.input_error import InputError


def check_same_data(saved: MadeWith, dataset: Dataset, config: ml_collections.ConfigDict) -> None:
  """Raises InputError that says what has changed since the checkpoint, unless `config` allows it: then prints it.

  A checkpoint of an older version, and one of another data set, have nothing to compare.
  """
  if saved.config.data.dataset != config.data.dataset or not saved.data:
    return
  changed = dataset.differences(saved.data)
  if not changed:
    return
  lines = "\n".join([f"{saved.where} was made with other data:", *(f"  {line}" for line in changed)])
  if not config.data.allow_other_content:
    raise InputError(
      f"{lines}\nBring back the data, or use a new --workdir. --config.data.allow_other_content=True goes on with the "
      "present data: metrics from before and after are not comparable"
    )
  if is_first():
    print(f"{lines}\nIt goes on, as config.data.allow_other_content says.", file=sys.stderr)
