"""Convolutions as matrix products, where that is the faster way."""

import functools
import itertools

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.models.layers.bound import bound
from composeret_jax.models.layers.linear import torch_linear_init

# Up to this size of the output map XLA's CPU convolution is slower than products, at 2 a hundred times.
SMALL_MAP = 7


# From this size of the output map on XLA's gradient by the kernel is slower on a CPU than a product, at 16 twice.
LARGE_MAP = 14


# Of images, places and channels, in that product: 5 MB, for which a core's cache has room.
NEIGHBOURS_AT_A_TIME = 1_250_000


class Conv2d(nnx.Module):
  """A square convolution without bias over NHWC maps, padded by (size - 1) / 2; initial weights as torchvision's.

  Computes in `dtype`; weights [size, size, in, out] stay float32.
  """

  def __init__(
    self, in_features: int, out_features: int, size: int, *, stride: int = 1, dtype=jnp.float32, rngs: nnx.Rngs
  ):
    init = jax.nn.initializers.variance_scaling(2.0, "fan_out", "normal")
    self.kernel = nnx.Param(init(rngs.params(), (size, size, in_features, out_features)))
    self.stride = stride
    self.dtype = dtype

  def __call__(self, maps: Float[Array, "batch height width in"]) -> Float[Array, "batch out_height out_width out"]:
    """Returns maps in `dtype`, smaller by `stride`."""
    return convolve(maps.astype(self.dtype), self.kernel[...].astype(self.dtype), self.stride)


class BiasedConv2d(nnx.Module):
  """A 3x3 convolution with bias over NHWC maps, padded by one, initialised as torch.nn.Conv2d is."""

  def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs):
    init = torch_linear_init(9 * in_features)
    self.kernel = nnx.Param(init(rngs.params(), (3, 3, in_features, out_features)))
    self.bias = nnx.Param(init(rngs.params(), (out_features,)))
    self.dtype = jnp.dtype("float32")  # set by Composer.compute_in()

  def __call__(self, maps: Float[Array, "batch height width in"]) -> Float[Array, "batch height width out"]:
    """Returns maps of the same size, in `dtype`."""
    kernel, bias = self.kernel[...].astype(self.dtype), self.bias[...].astype(self.dtype)
    return convolve(maps.astype(self.dtype), kernel, 1) + bias


def convolve(
  maps: Float[Array, "batch height width in"], kernel: Float[Array, "size size in out"], stride: int
) -> Float[Array, "batch out_height out_width out"]:
  """Convolution with padding (size - 1) / 2; on a CPU small maps and large ones' kernel gradient by products."""
  largest_output = -(-max(maps.shape[1:3]) // stride)
  if kernel.shape[0] == 1:
    on_cpu = _pointwise_convolve
  elif SMALL_MAP < largest_output < LARGE_MAP:
    return _xla_convolve(maps, kernel, stride)
  else:
    on_cpu = _taps_convolve if largest_output <= SMALL_MAP else _large_map_convolve
  return jax.lax.platform_dependent(
    maps,
    kernel,
    cpu=bound(on_cpu, stride),
    default=bound(_xla_convolve, stride),
  )


def _xla_convolve(maps, kernel, stride):
  pad = (kernel.shape[0] - 1) // 2
  return jax.lax.conv_general_dilated(
    maps, kernel, (stride, stride), [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
  )


def _pointwise_convolve(maps, kernel, stride):
  return jnp.matmul(maps[:, ::stride, ::stride], kernel[0, 0])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _large_map_convolve(maps, kernel, stride):
  return _xla_convolve(maps, kernel, stride)


def _large_map_backward(stride, kept, gradient):
  maps, kernel = kept
  by_maps = jax.vjp(lambda maps: _xla_convolve(maps, kernel, stride), maps)[1](gradient)[0]
  return by_maps, _kernel_gradient(maps, gradient, kernel.shape, stride).astype(kernel.dtype)


def _kernel_gradient(maps, gradient, kernel_shape, stride):
  """The sum over some images at a time, in float32."""
  num_neighbours = kernel_shape[0] ** 2 * gradient[0, ..., 0].size * maps.shape[-1]
  num_parts = -(-len(maps) // max(1, NEIGHBOURS_AT_A_TIME // num_neighbours))
  part_size = -(-len(maps) // num_parts)

  def split(images):
    padded = jnp.pad(images, [(0, num_parts * part_size - len(images)), (0, 0), (0, 0), (0, 0)])
    # A part has every num_parts-th image: where images are split over devices, each device has some of every part.
    return padded.reshape(part_size, num_parts, *images.shape[1:])

  def add(total, part):
    own_maps, own_gradient = (jax.lax.dynamic_index_in_dim(images, part, 1, keepdims=False) for images in splits)
    return total + _kernel_gradient_at_once(own_maps, own_gradient, kernel_shape, stride), None

  splits = split(maps), split(gradient)
  return jax.lax.scan(add, jnp.zeros(kernel_shape), jnp.arange(num_parts))[0]


def _kernel_gradient_at_once(maps, gradient, kernel_shape, stride):
  """One product of all places' neighbours, channels first, and the outputs' gradient."""
  size, _, in_features, out_features = kernel_shape
  pad = (size - 1) // 2
  height, width = (stride * (side - 1) + 1 for side in gradient.shape[1:3])
  padded = jnp.pad(maps.transpose(3, 0, 1, 2), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
  # Written out, the arrays are read in order; fused, XLA reads the maps across channels for each neighbour.
  columns = jnp.stack([jax.lax.optimization_barrier(padded)[..., i : i + width : stride] for i in range(size)])
  columns = jax.lax.optimization_barrier(columns)
  neighbours = jnp.stack([columns[..., i : i + height : stride, :] for i in range(size)])
  product = jnp.matmul(
    neighbours.reshape(size * size * in_features, -1),
    gradient.reshape(-1, out_features),
    preferred_element_type=jnp.float32,
  )
  return product.reshape(kernel_shape)


_large_map_convolve.defvjp(
  lambda maps, kernel, stride: (_xla_convolve(maps, kernel, stride), (maps, kernel)), _large_map_backward
)


def _taps_convolve(maps, kernel, stride):
  """For each place of the kernel one product, with those inputs alone that are no padding."""
  size, _, in_features, out_features = kernel.shape
  sides = maps.shape[1:3]
  out_sides = [-(-side // stride) for side in sides]
  products = []
  taps = jnp.unstack(kernel.reshape(-1, in_features, out_features))
  for place, tap in zip(itertools.product(range(size), repeat=2), taps, strict=True):
    shifts = [position - (size - 1) // 2 for position in place]
    # The places along each side of the output whose input, `shift` beside it, is on the map.
    outputs = [
      [out for out in range(-(-side // stride)) if 0 <= out * stride + shift < side]
      for shift, side in zip(shifts, sides, strict=True)
    ]
    if all(outputs):
      rows, columns = (
        slice(out[0] * stride + shift, out[-1] * stride + shift + 1, stride)
        for out, shift in zip(outputs, shifts, strict=True)
      )
      product = jnp.matmul(maps[:, rows, columns], tap, preferred_element_type=jnp.float32)
      around = [(out[0], side - 1 - out[-1]) for out, side in zip(outputs, out_sides, strict=True)]
      products.append(jnp.pad(product, ((0, 0), *around, (0, 0))))
  return functools.reduce(jnp.add, products).astype(maps.dtype)
