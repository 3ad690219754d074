"""What the checkpoints of a workdir were made with, and what of it holds for a run that goes on from there."""

from collections.abc import Sequence
import pathlib

import jax
import ml_collections

from composeret_jax.distributed import is_first
from composeret_jax.training.checkpoints import MadeWith, newest_made_with
from composeret_jax.training.config.check import check_config
from composeret_jax.training.config.same_run import check_same_run, on_another_dataset, ROWS
from data_pipelines.input_error import InputError


def trained_with(workdir: pathlib.Path, config: ml_collections.ConfigDict) -> MadeWith:
  """What the newest checkpoint was made with; raises InputError with the path when there is no checkpoint."""
  if not workdir.is_dir():
    raise InputError(f"--workdir={workdir} is no folder: there is no checkpoint")
  saved = newest_made_with(workdir, config)
  if saved is None:
    raise InputError(f"--workdir={workdir} has no checkpoint")
  return saved


def check_resumes(saved: MadeWith, config: ml_collections.ConfigDict) -> None:
  """Raises InputError that names every field in which `config` is not what the checkpoint was made with, and must be.

  Paths of rows are free where the checkpoint says what they held.
  """
  check_same_run(saved.config, config, saved.where, ROWS if saved.data else ())


def config_to_evaluate(
  saved: MadeWith, config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> ml_collections.ConfigDict:
  """The configuration that evaluates the checkpoint on the data set of `config`.

  Raises InputError that names every field in which they differ and must not.
  """
  if saved.config.data.dataset == config.data.dataset:
    check_resumes(saved, config)
    return config
  if is_first():
    print(f"{workdir} was trained on {saved.config.data.dataset}, and is evaluated on {config.data.dataset}.")
  config = on_another_dataset(saved.config, config, str(workdir))
  check_config(config, jax.device_count())
  return config


def kept_words(saved: MadeWith | None, config: ml_collections.ConfigDict) -> Sequence[str] | None:
  """The words of an LSTM that goes on over other data than it was trained on; None where the data says them."""
  if saved is None or saved.config.data.dataset == config.data.dataset and not config.data.allow_other_content:
    return None
  return saved.sources.get("words")
