"""What a frozen encoder has computed, kept on the disk: a resumed run, an evaluation, another seed read it back."""

from collections.abc import Callable, Mapping
import hashlib
import json
import os
import pathlib
import sys
from typing import Any

import jax
from jax.experimental import multihost_utils
from jaxtyping import Float
import ml_collections
import numpy as np

from data_pipelines.file_lock import one_at_a_time
from data_pipelines.input_error import InputError

# Another one whenever an encoder computes something else from the same weights.
ENCODERS_VERSION = 1


def kept_features(
  folder: pathlib.Path, name: str, made_from: Mapping[str, Any], compute: Callable[[], Float[np.ndarray, "num dim"]]
) -> Float[np.ndarray, "num dim"]:
  """The features in `folder`; what `compute` returns, kept there from now on, where one of the processes lacks them.

  `made_from` is all that they depend on but the kind of device, as JSON takes it; `name` is for people. A folder that
  cannot be written is a message. Raises InputError when the file is damaged.
  """
  everything = json.dumps([ENCODERS_VERSION, jax.default_backend(), made_from], sort_keys=True)
  path = folder / f"{name}-{hashlib.sha256(everything.encode()).hexdigest()[:16]}.npy"
  # All devices compute them together: either every process does, or none.
  if multihost_utils.process_allgather(np.array(path.exists())).all():
    return _read(path)
  features = compute()
  try:
    _keep(path, features)
  except OSError as error:
    print(f"{path} cannot be written, the next run computes it again: {error.strerror or error}", file=sys.stderr)
  return features


def without(config: ml_collections.ConfigDict, *names: str) -> dict[str, Any]:
  """An encoder's part of the configuration, for `made_from`, without what no feature depends on."""
  return {name: value for name, value in config.items() if name not in names}


def _read(path: pathlib.Path) -> Float[np.ndarray, "num dim"]:
  try:
    return np.asarray(np.load(path, mmap_mode="r"))
  except (EOFError, ValueError) as error:
    raise InputError(f"{path} is damaged: {error}. Delete it, and it is computed again") from error


def _keep(path: pathlib.Path, features: Float[np.ndarray, "num dim"]) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_suffix(".partial")
  with one_at_a_time(path.with_suffix(".lock")):
    if path.exists():  # another process of the job, or another run, has kept it meanwhile
      return
    try:
      with partial.open("wb") as file:
        np.save(file, features)
        file.flush()
        os.fsync(file.fileno())
      os.replace(partial, path)
    finally:
      partial.unlink(missing_ok=True)  # a full disk gets its room back
