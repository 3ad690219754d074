"""Features of a frozen encoder, kept on the disk: a resumed run, an evaluation or another seed reads them back."""

from collections.abc import Callable, Mapping
import functools
import hashlib
import json
import pathlib
import sys
from typing import Any

from flax import nnx
import jax
from jax.experimental import multihost_utils
from jaxtyping import Array, Float, Shaped
import ml_collections
import numpy as np

from composeret_jax.distributed import data_mesh, in_own_batches, on_every_device, own_batch, place
from data_pipelines.files import open_whole
from data_pipelines.input_error import InputError
from data_pipelines.locks import one_at_a_time

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
    try:
      return np.asarray(np.load(path, mmap_mode="r"))
    except (EOFError, ValueError) as error:
      raise InputError(f"{path} is damaged: {error}. Delete it, and it is computed again") from error
  features = compute()
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(path.with_suffix(".lock")):
      if not path.exists():  # else another process of the job, or another run, has kept it meanwhile
        with open_whole(path) as file:
          np.save(file, features)
  except OSError as error:
    print(f"{path} cannot be written, the next run computes it again: {error.strerror or error}", file=sys.stderr)
  return features


def fields_except(encoder_config: ml_collections.ConfigDict, *names: str) -> dict[str, Any]:
  """An encoder's part of the configuration, for `made_from`, without what no feature depends on."""
  return {name: value for name, value in encoder_config.items() if name not in names}


class FrozenEncoder:
  """Encodes rows, `batch_size` on each device at a time. All processes call it together, with rows of their own."""

  def __init__(
    self,
    encoder: Any,
    batch_size: int,
    features: Callable[[Any, Shaped[Array, "batch ..."]], Float[Array, "batch dim"]],
  ):
    """Puts the weights of `encoder`, an nnx.Module, on every device, once.

    `features` is compiled, for each length of rows anew.
    """
    self._batch_size = batch_size
    self.own_batch = own_batch(batch_size)
    encoder.eval()
    graphdef, weights = nnx.split(encoder)
    everywhere = on_every_device(data_mesh())
    self._weights = jax.tree.map(lambda array: place(np.asarray(array), everywhere), weights)
    self._encode = jax.jit(lambda weights, rows: features(nnx.merge(graphdef, weights), rows))

  def __call__(self, rows: Shaped[np.ndarray, "num ..."]) -> Float[np.ndarray, "num dim"]:
    """The features of at most `own_batch` rows; fewer are filled up, so that they are computed by the same program."""
    encode = functools.partial(self._encode, self._weights)
    return in_own_batches(encode, self._batch_size, self.own_batch, rows)
