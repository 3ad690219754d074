"""Reads a checkpoint file of the original PyTorch programs. The one place that needs PyTorch, which is an extra."""

import dataclasses
import pathlib
import zipfile

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
  _check_plain(path)
  checkpoint = _load(path)
  keys = sorted(map(str, checkpoint)) if isinstance(checkpoint, dict) else type(checkpoint).__name__
  if not isinstance(checkpoint, dict) or not {"it", "model_state_dict"} <= checkpoint.keys():
    raise InputError(
      f"{path} holds {str(keys)[:300]}, expected an original checkpoint with the keys it and model_state_dict"
    )
  try:
    tensors = {str(name): tensor.numpy() for name, tensor in checkpoint["model_state_dict"].items()}
    return OriginalCheckpoint(int(checkpoint["it"]), tensors)
  except (TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
    raise InputError(f"{path} holds another thing than tensors under model_state_dict and a step under it") from error


def _check_plain(path: pathlib.Path) -> None:
  """PyTorch never compresses; what is compressed may become any size."""
  try:
    if zipfile.is_zipfile(path):
      with zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
          raise InputError(f"{path} is a compressed archive, expected a PyTorch file of weights")
  except zipfile.BadZipFile as error:
    raise InputError(f"{path} cannot be read as a PyTorch file of weights: {error}") from error


def _load(path: pathlib.Path):
  try:
    import torch
  except ImportError:
    raise InputError(
      f'PyTorch is not installed, and {path} needs it: pip install "composeret-jax[torch]", for this step only'
    ) from None
  try:
    return torch.load(path, map_location="cpu", weights_only=True)
  except Exception as error:  # whatever a damaged file makes its parsers run into
    reason = str(error).partition("\n")[0][:300]
    raise InputError(f"{path} cannot be read as a PyTorch file of weights: {reason}") from error
