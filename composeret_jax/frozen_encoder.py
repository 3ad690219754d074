"""A frozen encoder on all devices: batches in, their features out."""

from collections.abc import Callable

from flax import nnx
import jax
from jaxtyping import Array, Float, Shaped
import numpy as np

from composeret_jax.devices import data_mesh, fetch, on_every_device, place, rows_split


class FrozenEncoder:
  """Encodes up to `batch_size` rows at a time: the size that was asked for, or the next that the devices can split."""

  def __init__(
    self,
    encoder: nnx.Module,
    batch_size: int,
    features: Callable[[nnx.Module, Shaped[Array, "batch ..."]], Float[Array, "batch dim"]],
  ):
    """Puts the weights on every device, once; `features` is what is compiled, for each length of rows anew."""
    self._sharding = rows_split(data_mesh())
    self.batch_size = -(-batch_size // self._sharding.num_devices) * self._sharding.num_devices
    encoder.eval()
    graphdef, weights = nnx.split(encoder)
    everywhere = on_every_device(data_mesh())
    self._weights = jax.tree.map(lambda array: place(np.asarray(array), everywhere), weights)
    self._encode = jax.jit(lambda weights, rows: features(nnx.merge(graphdef, weights), rows))

  def __call__(self, rows: Shaped[np.ndarray, "num ..."]) -> Float[np.ndarray, "num dim"]:
    """Returns their features; a short batch is filled up, so that it is computed by the same program."""
    filling = np.repeat(rows[-1:], self.batch_size - len(rows), axis=0)
    whole = place(np.concatenate([rows, filling]), self._sharding)
    return fetch(self._encode(self._weights, whole))[: len(rows)]
