"""Reads a checkpoint file of the original PyTorch programs. The one place that needs PyTorch, which is an extra."""

import dataclasses
import pathlib
import pickle

import numpy as np

from data_pipelines.input_error import InputError


@dataclasses.dataclass(frozen=True)
class OriginalCheckpoint:
  """The steps done, and the parameters by their original names."""

  step: int
  state_dict: dict[str, np.ndarray]


def read_checkpoint(path: pathlib.Path) -> OriginalCheckpoint:
  """Reads `it` and `model_state_dict`; nothing but tensors and plain containers is unpickled.

  Raises InputError when PyTorch or the file is not there, or the file is no such checkpoint.
  """
  if not path.is_file():
    raise InputError(f"--checkpoint={path} is not a file")
  checkpoint = _load(path)
  keys = sorted(map(str, checkpoint)) if isinstance(checkpoint, dict) else type(checkpoint).__name__
  if not isinstance(checkpoint, dict) or not {"it", "model_state_dict"} <= checkpoint.keys():
    raise InputError(f"{path} holds {keys}, expected an original checkpoint with the keys it and model_state_dict")
  tensors = checkpoint["model_state_dict"].items()
  return OriginalCheckpoint(int(checkpoint["it"]), {name: tensor.numpy() for name, tensor in tensors})


def _load(path: pathlib.Path):
  try:
    import torch
  except ImportError:
    raise InputError(
      f'PyTorch is not installed, and {path} needs it: pip install "composeret-jax[torch]", for this step only'
    ) from None
  try:
    return torch.load(path, map_location="cpu", weights_only=True)
  except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
    raise InputError(f"{path} cannot be read as a PyTorch file of weights: {error}") from error
