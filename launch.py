"""Prepares, trains, evaluates, imports, exports: `python launch.py --config=configs/shapes.py --workdir=RUN`."""

import pathlib
import sys

from absl import app, flags, logging
from ml_collections import config_flags

MODES = ("train", "eval", "prepare", "import", "export")

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "A file of configs/, with :model; --config.FIELD=VALUE overrides."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the run's checkpoints, metrics and pictures are.")
_MODE = flags.DEFINE_enum("mode", "train", MODES, "What to do.")
_DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Join this job's other processes, as the cluster names them.")
_COORDINATOR = flags.DEFINE_string("coordinator_address", None, "HOST:PORT of process 0, where no cluster says it.")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes the job has.", lower_bound=1)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this is.", lower_bound=0)
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The original program's .pth file, for --mode=import.")
_BUNDLE = flags.DEFINE_string("bundle", None, "The folder that --mode=export writes.")


def main(_) -> None:
  """Does what --mode says."""
  # After the flags: a mistyped one is answered at once.
  from composeret_jax.finite import NonFiniteLossError
  from data_pipelines.input_error import InputError

  try:
    _run(_MODE.value)
  except (InputError, NonFiniteLossError) as error:
    sys.exit(f"error: {error}")


def _run(mode: str) -> None:
  from composeret_jax import export, import_original, processes, train
  from composeret_jax.run_config import check_config
  from data_pipelines.datasets import prepare
  from data_pipelines.input_error import InputError

  config = _CONFIG.value
  explicit = _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value
  if _DISTRIBUTED.value or any(value is not None for value in explicit):
    processes.join(*explicit)
  if mode == "prepare":
    check_config(config, num_devices=1)
    prepare(config.data)
    return
  if not _WORKDIR.value:
    raise InputError(f"--workdir is not set: --mode={mode} needs it")
  workdir = pathlib.Path(_WORKDIR.value)
  if mode == "import":
    if not _CHECKPOINT.value:
      raise InputError("--checkpoint is not set: --mode=import needs it")
    import_original.import_checkpoint(config, workdir, pathlib.Path(_CHECKPOINT.value))
    return
  if mode == "export":
    if not _BUNDLE.value:
      raise InputError("--bundle is not set: --mode=export needs it")
    export.export(config, workdir, pathlib.Path(_BUNDLE.value))
    return
  {"train": train.train, "eval": train.evaluate}[mode](config, workdir)


def parse_flags(arguments: list[str]) -> list[str]:
  """absl's flags; a mistake in them is one message without a traceback."""
  try:
    rest = flags.FLAGS(arguments)
    _CONFIG.value.keys()  # that there is no such file shows only here
    return rest
  except (flags.Error, AttributeError, KeyError, ValueError, TypeError, OSError) as error:
    message = str(error)
    if error.args and isinstance(error.args[0], KeyError):  # ml_collections' hint; str() would quote it
      message = error.args[0].args[0]
  # A configuration that refuses its argument says why; any other mistake inside one keeps its traceback.
  _, refused, reason = message.rpartition("\nValueError: ")
  sys.exit(f"error: {reason if refused else message}")


if __name__ == "__main__":
  flags.mark_flag_as_required("config")
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=parse_flags)
