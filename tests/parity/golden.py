"""Reads the original programs' numbers from the folder that COMPOSERET_GOLDEN names."""

import os
import pathlib

import numpy as np
import pytest


def load(name: str) -> dict[str, np.ndarray]:
  """The arrays of `<COMPOSERET_GOLDEN>/<name>.npz`; skips the test when they are not there."""
  folder = os.environ.get("COMPOSERET_GOLDEN")
  if not folder:
    pytest.skip("COMPOSERET_GOLDEN is not set: no golden numbers to compare with")
  path = pathlib.Path(folder) / f"{name}.npz"
  if not path.exists():
    pytest.skip(f"{path} is not there")
  with np.load(path) as file:
    return dict(file)


def under(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
  """The arrays whose key starts with `prefix`, without it."""
  return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
