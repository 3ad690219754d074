"""Weights and tokenisers as files: a local folder, or a repository of the Hugging Face hub."""

from collections.abc import Sequence
import pathlib
import re
from typing import Any

import huggingface_hub
import jax.numpy as jnp
import numpy as np
import safetensors

from data_pipelines.input_error import InputError
from data_pipelines.paths import local_path
from data_pipelines.untrusted_json import read_json_object

WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"  # of weights in several files
WEIGHT_FILES = (WEIGHTS, WEIGHTS_INDEX, "model-*.safetensors")
_REPOSITORY = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def find_folder(where: str, names: Sequence[str], field: str) -> pathlib.Path:
  """The local folder `where`, or the one into which the files `names` of the hub's repository `where` are fetched.

  `names` that the repository lacks are no error here. What was fetched before needs no network. Raises InputError that
  names the setting `field` when there is neither.
  """
  if not where:
    raise InputError(f"config.{field} is not set: expected a local folder or a repository of the Hugging Face hub")
  folder = local_path(where, f"config.{field}")
  if folder.is_dir():
    return folder
  if not _REPOSITORY.fullmatch(where):
    raise InputError(f"config.{field}={where} is no folder here")
  needed = " ".join(name for name in names if "*" not in name)
  try:
    return pathlib.Path(huggingface_hub.snapshot_download(where, allow_patterns=list(names)))
  except (OSError, ValueError) as error:
    raise InputError(
      f"config.{field}={where} is no folder here, and could not be fetched from the Hugging Face hub "
      f"({_first_line(error)}).\nWhere there is a network, run\n  hf download {where} {needed}\n"
      f"or add --local-dir=FOLDER to it, copy FOLDER here and set config.{field}=FOLDER"
    ) from error


def find_weights(where: str, field: str) -> pathlib.Path:
  """The file of weights that `where` names: itself, or model.safetensors in a local folder or in a hub repository."""
  file = local_path(where, f"config.{field}")
  if file.is_file():
    return file
  return required(find_folder(where, [WEIGHTS], field) / WEIGHTS)


def required(file: pathlib.Path) -> pathlib.Path:
  """`file`; raises InputError that says what stands beside it when it is not there."""
  if not file.is_file():
    present = ", ".join(sorted(path.name for path in file.parent.iterdir())) or "nothing"
    raise InputError(f"{file.parent} has no {file.name}; it has {present}")
  return file


def read_json(file: pathlib.Path) -> dict[str, Any]:
  """The fields of a file; raises InputError when it is not there, or no JSON object."""
  return read_json_object(required(file))


def weight_files(folder: pathlib.Path) -> list[pathlib.Path]:
  """The safetensors files of a folder: one, or those that an index lists; raises InputError when one is missing."""
  if (folder / WEIGHTS_INDEX).is_file() and not (folder / WEIGHTS).is_file():
    names = read_json(folder / WEIGHTS_INDEX).get("weight_map", {}).values()
    return [required(folder / pathlib.PurePath(name).name) for name in sorted(set(names))]
  return [required(folder / WEIGHTS)]


def read_tensors(folder: pathlib.Path, prefixes: tuple[str, ...] = ("",)) -> dict[str, np.ndarray]:
  """The tensors of a folder whose names begin with one of `prefixes`, as `read_safetensors`."""
  tensors: dict[str, np.ndarray] = {}
  for file in weight_files(folder):
    tensors |= read_safetensors(file, prefixes)
  return tensors


def read_safetensors(file: pathlib.Path, prefixes: tuple[str, ...] = ("",)) -> dict[str, np.ndarray]:
  """The tensors of a file whose names begin with one of `prefixes`; floats of two bytes become float32.

  Raises InputError when it is no whole safetensors file.
  """
  try:
    with safetensors.safe_open(file, framework="numpy") as tensors:
      return {name: _float32(tensors.get_tensor(name)) for name in tensors.keys() if name.startswith(prefixes)}  # noqa: SIM118 (it has no __iter__)
  except (safetensors.SafetensorError, OSError, TypeError) as error:
    raise InputError(f"{file} cannot be read as safetensors: {_first_line(error)}") from error


def _float32(tensor: np.ndarray) -> np.ndarray:
  return tensor.astype(np.float32) if tensor.dtype in (np.float16, jnp.bfloat16) else tensor


def _first_line(error: Exception) -> str:
  return str(error).partition("\n")[0][:300]
