"""Runs the mode that the flags name, and turns the user's mistakes into one message."""

import sys

from absl import app, flags, logging
import ml_collections

from composeret_jax.command import config_files, run_flags
from composeret_jax.command.modes import MODES
from composeret_jax.command.unknown_field import unknown_field
from composeret_jax.command.workdir_config import with_workdir_config

_MODE = flags.DEFINE_enum("mode", "train", list(MODES), "What to do.")


def launch(arguments: list[str] | None = None) -> None:
  """Runs the program on the process's arguments, or on `arguments` (the program's name first); exits when it ends."""
  logging.set_verbosity(logging.WARNING)
  app.run(main, argv=arguments, flags_parser=parse_flags)


def main(arguments: list[str]) -> None:
  """Does what --mode says; `arguments` are the program's name and what is no flag."""
  # Imported after the flags are parsed: a mistyped flag is answered at once.
  from composeret_jax.evaluation.retrieval import NonFiniteError
  from data_pipelines.input_error import InputError
  from data_pipelines.paths import disk_problem, path_problem

  mode = MODES[_MODE.value]
  try:
    _require(mode.needed)
    if arguments[1:] and not mode.arguments:
      raise InputError(
        f"{arguments[1]!r} is no flag, and `composeret {_MODE.value}` takes nothing else: flags begin with --"
      )
    if "workdir" in mode.flag_names:
      _check_apart_from_data(run_flags.CONFIG.value.data.dir)
    explicit = run_flags.COORDINATOR.value, run_flags.NUM_PROCESSES.value, run_flags.PROCESS_ID.value
    if run_flags.DISTRIBUTED.value or any(value is not None for value in explicit):
      from composeret_jax.distributed import join

      join(*explicit)
    mode.run(*arguments[1:])
  except (InputError, NonFiniteError) as error:
    sys.exit(f"error: {error}")
  except Exception as error:
    problem = disk_problem(error) or path_problem(error)
    if problem is None:
      raise
    sys.exit(f"error: {problem}")


def _check_apart_from_data(data_dir: str) -> None:
  """Raises InputError if the program would write among the data that it reads."""
  from data_pipelines.paths import check_apart, path_or_address

  for flag in (run_flags.WORKDIR, run_flags.BUNDLE, run_flags.TOWERS, run_flags.SUBMISSION):
    if flag.value and data_dir:
      output, data = run_flags.path_or_bucket(flag), path_or_address(data_dir, "config.data.dir")
      check_apart(output, f"--{flag.name}", data, "config.data.dir")


def _require(needed: tuple[flags.FlagHolder, ...]) -> None:
  """Raises InputError that names every needed flag that is not set."""
  from data_pipelines.input_error import InputError

  missing = [f"--{flag.name}" for flag in needed if not flag.value]
  if missing:
    raise InputError(f"`composeret {_MODE.value}` needs {' and '.join(missing)}")


def parse_flags(arguments: list[str]) -> list[str]:
  """absl's flags, --config resolved from a packaged name or a workdir; a mistake is one message without a traceback."""
  resolved = arguments
  try:
    resolved = with_workdir_config(config_files.with_config_paths(arguments))
    rest = flags.FLAGS(resolved)
    if run_flags.CONFIG.value is not None:
      run_flags.CONFIG.value.keys()  # a missing file shows only here
    return rest
  except (flags.Error, AttributeError, KeyError, ValueError, TypeError, OSError) as error:
    message = str(error)
    if error.args and isinstance(error.args[0], KeyError):  # ml_collections' hint; str() would quote it
      message = error.args[0].args[0]
    if isinstance(error, AttributeError | KeyError) and "Did you mean" not in message:
      message = unknown_field(resolved, _given_config(resolved)) or message
  # A configuration that refuses its argument says why; any other mistake inside one keeps its traceback.
  _, refused, reason = message.rpartition("\nValueError: ")
  sys.exit(f"error: {reason if refused else message}")


def _given_config(arguments: list[str]) -> ml_collections.ConfigDict:
  """The configuration without its overrides; an empty one if none can be read."""
  paths = [argument.partition("=")[2] for argument in arguments if argument.startswith(("--config=", "-config="))]
  config = flags.FLAGS["config"].parser.parse(paths[-1]) if paths else None
  return config if isinstance(config, ml_collections.ConfigDict) else ml_collections.ConfigDict()
