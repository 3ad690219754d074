"""Weights in two files with an index, as the hub has large models."""

from collections.abc import Mapping
import json
import pathlib

import numpy as np
from safetensors.numpy import save_file


def write_parts(folder: pathlib.Path, tensors: Mapping[str, np.ndarray]) -> dict[str, str]:
  """Writes every other tensor into the one file and the rest into the other; returns the file of each."""
  files = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(tensors)}
  for file in set(files.values()):
    save_file({name: tensor for name, tensor in tensors.items() if files[name] == file}, folder / file)
  (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
  return files
