"""The published checkpoints of LinCIR, SEARLE and Pic2Word: the network that makes a word of an image's feature."""

from collections.abc import Mapping
import pathlib
from typing import Any

import numpy as np

from composeret_jax.models.composers.inversion import Inversion, Pic2Word
from composeret_jax.pretrained.slots import linear_slots, prefixed, Slots
from composeret_jax.pretrained.torch_file import read_torch_file
from data_pipelines.input_error import InputError

DISTRIBUTED = "module."  # before each name, after training on several devices


def phi_slots(composer: Inversion) -> Slots:
  """The names of the composer's network: Pic2Word's `img2text`, or the `Phi` of the others."""
  is_pic2word = isinstance(composer, Pic2Word)
  # Of LinCIR's and SEARLE's list of layers, activations and dropouts have numbers too.
  names = [
    f"layers.{number}.0." if is_pic2word else f"layers.{3 * number}." for number in range(len(composer.phi.hidden))
  ]
  slots: Slots = {}
  for name, layer in zip(names, composer.phi.hidden, strict=True):
    slots |= prefixed(name, linear_slots(layer))
  out = "fc_out." if is_pic2word else f"layers.{3 * len(names)}."
  return slots | prefixed(out, linear_slots(composer.phi.out))


def read_phi(path: pathlib.Path, composer: Inversion) -> dict[str, np.ndarray]:
  """The float32 tensors of a published checkpoint for such a composer, by their names.

  Raises InputError when the file is not there, cannot be read, or holds something else.
  """
  part = "state_dict_img2text" if isinstance(composer, Pic2Word) else "Phi"
  checkpoint: Any = read_torch_file(path)
  tensors = checkpoint.get(part) if isinstance(checkpoint, Mapping) else None
  if not isinstance(tensors, Mapping) or not all(isinstance(tensor, np.ndarray) for tensor in tensors.values()):
    found = ", ".join(map(str, checkpoint))[:300] if isinstance(checkpoint, Mapping) else type(checkpoint).__name__
    raise InputError(f"{path} holds {found}, expected a checkpoint with tensors under {part}")
  return {str(name).removeprefix(DISTRIBUTED): np.asarray(tensor, np.float32) for name, tensor in tensors.items()}
