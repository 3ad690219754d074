"""The configuration and files that checkpoints were made with, and the part that binds a run that goes on."""

from collections.abc import Sequence

import ml_collections

from composeret_jax.distributed import is_first
from composeret_jax.training.checkpoints import Checkpoints, DamagedCheckpointError, MadeWith, newest_made_with, TO_READ
from composeret_jax.training.config.check import check_config
from composeret_jax.training.config.same_run import check_same_run, config_on_data, ROWS
from composeret_jax.training.workdir.chosen_step import chosen_step
from data_pipelines.buckets.addresses import AnyPath
from data_pipelines.input_error import InputError
from data_pipelines.paths import path_or_address

START_FIELD, STEP_FIELD = "config.init_from", "config.init_from_step"


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
  checked = evaluated.copy_and_resolve_references()
  if "hard_negatives" in checked:
    checked.hard_negatives.every_steps = 0  # an evaluation mines none: its data may be placed otherwise
  check_config(checked, num_devices=1)
  return evaluated


def kept_words(saved: MadeWith | None, config: ml_collections.ConfigDict) -> Sequence[str] | None:
  """The words of an LSTM that goes on over other texts than it was trained on, or that had the words of another run.

  None where the data says them.
  """
  if saved is None:
    return None
  if saved.config.init_from:
    return saved.sources.get("words")
  same_texts = saved.config.data.dataset == config.data.dataset and all(
    saved.config[name] == config[name] for name in ("text_query", "text_template")
  )
  return None if same_texts and not config.data.allow_other_content else saved.sources.get("words")


def words_of_start(config: ml_collections.ConfigDict) -> Sequence[str]:
  """The words of the LSTM that a new run starts from, which its own LSTM knows, too; none without one.

  Raises InputError as `chosen_start`.
  """
  if not config.init_from or config.model.text_encoder.name != "lstm":
    return ()
  return chosen_start(config)[1].sources.get("words") or ()


def chosen_start(config: ml_collections.ConfigDict) -> tuple[AnyPath, MadeWith]:
  """The checkpoint that `config.init_from` names, and its origin.

  Raises InputError when there is no such checkpoint, or it is damaged.
  """
  folder = path_or_address(config.init_from, START_FIELD)
  if not (folder / "checkpoints").is_dir():
    raise InputError(f"{START_FIELD}={config.init_from} has no checkpoint")
  with Checkpoints(folder, TO_READ, {}) as checkpoints:
    steps = checkpoints.steps()
    if not steps:
      raise InputError(f"{START_FIELD}={config.init_from} has no checkpoint")
    try:
      number = chosen_step(checkpoints, config.init_from_step, STEP_FIELD) if config.init_from_step else steps[0]
      checkpoints.check(number)
      return checkpoints.path(number), checkpoints.made_with(number)
    except DamagedCheckpointError as error:
      raise InputError(f"{START_FIELD}: {error}. {STEP_FIELD} chooses another one") from error
