"""A convolution along signals, and the maxima of windows over what it gives."""

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.models.layers.linear import torch_linear_init


class PooledConv1d(nnx.Module):
  """A width-3 convolution with bias along signals, padded by one, then the maximum of each of `size` windows.

  Window i is [floor(i L / size), ceil((i + 1) L / size)) of length L, as torch.nn.AdaptiveMaxPool1d has them; they
  overlap where `size` does not divide L. Places with the same maximum share its gradient.
  """

  def __init__(self, in_features: int, out_features: int, size: int, *, rngs: nnx.Rngs):
    init = torch_linear_init(3 * in_features)
    self.kernel = nnx.Param(init(rngs.params(), (3, in_features, out_features)))
    self.bias = nnx.Param(init(rngs.params(), (out_features,)))
    self.size = size
    self.dtype = jnp.dtype("float32")  # set by Composer.compute_in()

  def __call__(self, signals: Float[Array, "in batch length"]) -> Float[Array, "out batch size"]:
    """Returns maxima, channels first as the signals, in `dtype`."""
    length = signals.shape[2]
    padded = jnp.pad(signals.astype(self.dtype), ((0, 0), (0, 0), (1, 1)))
    # The place before each, the place itself, and the one behind it.
    neighbours = jnp.concatenate([padded[:, :, i : i + length] for i in range(3)])
    places = _in_windows(neighbours, self.size)
    kernel = self.kernel.reshape(-1, self.kernel.shape[-1]).astype(self.dtype)
    return _largest_products(kernel, places) + self.bias[:, None, None].astype(
      self.dtype
    )  # the same as before the maximum


def _in_windows(signals: Float[Array, "in batch length"], size: int) -> Float[Array, "in num batch size"]:
  """The places of each window; a window with fewer than others has its last place several times."""
  features, batch, length = signals.shape
  if length % size == 0:
    return signals.reshape(features, batch, size, length // size).transpose(0, 3, 1, 2)
  bounds = [(i * length // size, -(-(i + 1) * length // size)) for i in range(size)]
  longest = max(stop - start for start, stop in bounds)
  windows = [
    jnp.pad(signals[:, :, start:stop], ((0, 0), (0, 0), (0, longest - (stop - start))), mode="edge")
    for start, stop in bounds
  ]
  return jnp.stack(windows, axis=-1).swapaxes(1, 2)


@jax.custom_vjp
def _largest_products(
  kernel: Float[Array, "in out"], places: Float[Array, "in num batch size"]
) -> Float[Array, "out batch size"]:
  """The maximum over `num` of each place's product with `kernel`."""
  return _forward(kernel, places)[0]


def _forward(kernel, places):
  products = jnp.tensordot(kernel, places, ((0,), (0,)))  # [out, num, batch, size]
  largest = products.max(axis=1)
  return largest, (kernel, places, products, largest)


def _backward(kept, gradient):
  """As JAX would, but for the order of axes, for which XLA's CPU backend needs no transposed copies."""
  kernel, places, products, largest = kept
  # Fused with what follows, the sum takes a CPU ten times as long.
  hits = jax.lax.optimization_barrier((products == largest[:, None]).astype(gradient.dtype))
  by_product = hits * (gradient / hits.sum(axis=1))[:, None]
  return jnp.tensordot(places, by_product, ((1, 2, 3), (1, 2, 3))), jnp.tensordot(kernel, by_product, 1)


_largest_products.defvjp(_forward, _backward)
