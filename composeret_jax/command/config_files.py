"""Finds the configurations that come with the program, by name: `--config=shapes:rotor`."""

import difflib
import importlib
import os
import pathlib
import re
import runpy
import sys

import ml_collections

from data_pipelines.input_error import InputError

_PACKAGE = pathlib.Path(__file__).parents[1]
# Files of configs/ that other configurations import; they describe no run.
_PARTS = ("__init__", "base", "inversion", "models", "recipes", "size_and_dataset", "without_training")


def folder() -> pathlib.Path:
  """The folder of the configurations: inside an installed package, and beside the package in a checkout."""
  installed = _PACKAGE / "configs"
  return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def names() -> list[str]:
  """The names that --config takes without a path."""
  return sorted(file.stem for file in folder().glob("*.py") if file.stem not in _PARTS)


def with_config_paths(arguments: list[str]) -> list[str]:
  """The arguments with `--config=NAME[:ARGUMENT]` as a path, for each packaged NAME.

  Also makes `import configs` work where the package is installed, for the files of configs/ and for yours.
  """
  make_importable()
  resolved = list(arguments)
  for place, argument in enumerate(arguments):
    if match := re.fullmatch(r"(--?config=)(.*)", argument):
      resolved[place] = match[1] + config_file(match[2])
    elif place and re.fullmatch(r"--?config", arguments[place - 1]):
      resolved[place] = config_file(argument)
  return resolved


def config_file(value: str) -> str:
  """`FILE[:ARGUMENT]` for `NAME[:ARGUMENT]`, or for a path.

  Raises InputError, with the nearest name or all of them, where there is no such file.
  """
  path = config_path(value)
  file = path.partition(":")[0]
  if not os.path.isfile(file):
    near = difflib.get_close_matches(file, names(), n=1)
    expected = f"did you mean {near[0]!r}?" if near else f"expected a path or one of {', '.join(names())}"
    raise InputError(f"{file!r} is no configuration and no file, {expected}")
  return path


def config_path(value: str) -> str:
  """`NAME[:ARGUMENT]` with the path of the packaged file; any other value unchanged."""
  name, colon, argument = value.partition(":")
  return f"{folder() / name}.py{colon}{argument}" if name in names() and not os.path.isfile(name) else value


def load_config(name: str) -> ml_collections.ConfigDict:
  """The configuration of a packaged name or of a file, with an argument after a colon: `shapes:rotor`.

  Raises InputError for a name that does not exist, and when the file refuses its argument.
  """
  file, _, argument = config_file(name).partition(":")
  make_importable()
  arguments = [argument] if argument else []
  try:
    return runpy.run_path(file)["get_config"](*arguments)
  except ValueError as error:
    raise InputError(f"{name}: {error}") from error


def make_importable() -> None:
  """A wheel holds the configurations in `composeret_jax.configs`; they import each other as `configs`."""
  if (_PACKAGE / "configs").is_dir():
    sys.modules.setdefault("configs", importlib.import_module("composeret_jax.configs"))
  elif str(_PACKAGE.parent) not in sys.path:
    sys.path.append(str(_PACKAGE.parent))
