"""The configuration of a run that is there: what `--config` is where a mode reads a workdir, and none is given."""

import argparse
import pathlib

import ml_collections

from composeret_jax.training.config.same_run import config_from_json
from data_pipelines.input_error import InputError
from data_pipelines.paths import path_or_address
from data_pipelines.untrusted_json import read_json_object

MODES = ("eval", "submit", "export", "save_towers")


def get_config(workdir: str) -> ml_collections.ConfigDict:
  """The run's config.json; raises InputError where there is none. `--config.FIELD=VALUE` overrides it."""
  file = path_or_address(workdir, "--workdir") / "config.json"
  if not file.is_file():
    found = "" if file.parent.is_dir() else f" {file.parent} is no folder."
    raise InputError(f"{file} is not there.{found} Correct --workdir, or say the run's --config")
  config = config_from_json(read_json_object(file))
  config.data.allow_other_content = False  # it was for the run that said it
  return config


def with_workdir_config(arguments: list[str]) -> list[str]:
  """The arguments, with `--config` as this file for `--workdir` where one of MODES has none."""
  parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
  for name in ("mode", "config", "workdir"):
    parser.add_argument(f"--{name}", f"-{name}")
  given, _ = parser.parse_known_args(arguments[1:])
  if given.mode not in MODES or given.config or not given.workdir:
    return arguments
  get_config(given.workdir)  # whose mistakes are messages here, and tracebacks in the flag
  return [arguments[0], f"--config={pathlib.Path(__file__)}:{given.workdir}", *arguments[1:]]
