"""The configuration and files that checkpoints were made with, and the part that binds a run that goes on."""

from collections.abc import Sequence

import ml_collections

from composeret_jax.distributed import is_first
from composeret_jax.training.checkpoints import MadeWith, newest_made_with
from composeret_jax.training.config.check import check_config
from composeret_jax.training.config.same_run import check_same_run, config_on_data, ROWS
from data_pipelines.buckets.addresses import AnyPath
from data_pipelines.input_error import InputError


def trained_with(workdir: AnyPath, config: ml_collections.ConfigDict) -> MadeWith:
  """The origin of the newest checkpoint, which `config` evaluates.

  Raises InputError for a configuration that cannot be used, and with the path when there is no checkpoint.
  """
  check_config(config, num_devices=1)  # no batch of training is split
  if not workdir.is_dir():
    raise InputError(f"--workdir={workdir} is no folder: there is no checkpoint")
  saved = newest_made_with(workdir)
  if saved is None:
    raise InputError(f"--workdir={workdir} has no checkpoint")
  return saved


def check_resumes(saved: MadeWith, config: ml_collections.ConfigDict) -> None:
  """Raises InputError that names every field in which `config` is not what the checkpoint was made with, and must be.

  Paths of rows are free where the checkpoint says what they held.
  """
  check_same_run(saved.config, config, saved.where, ROWS if saved.data else ())


def config_to_evaluate(
  saved: MadeWith, config: ml_collections.ConfigDict, workdir: AnyPath
) -> ml_collections.ConfigDict:
  """The configuration that evaluates the checkpoint: its own, but for what `config` says of the data.

  Raises InputError, one line a mistake, where the two do not agree in `model`, or the data cannot be used.
  """
  if saved.config.data.dataset != config.data.dataset and is_first():
    print(f"{workdir} was trained on {saved.config.data.dataset}, and is evaluated on {config.data.dataset}.")
  evaluated = config_on_data(saved.config, config, str(workdir))
  check_config(evaluated, num_devices=1)
  return evaluated


def kept_words(saved: MadeWith | None, config: ml_collections.ConfigDict) -> Sequence[str] | None:
  """The words of an LSTM that goes on over other texts than it was trained on; None where the data says them."""
  if saved is None:
    return None
  same_texts = saved.config.data.dataset == config.data.dataset and saved.config.text_query == config.text_query
  return None if same_texts and not config.data.allow_other_content else saved.sources.get("words")
