"""Random crops and mirror images of training pixels, drawn and made on the device."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Num, UInt8
import ml_collections

from composeret_jax.models.layers.dropout import RowKeys

ASPECTS = (3 / 4, 4 / 3)  # of a crop, width to height


def augment(
  pixels: Num[Array, "batch ..."], rngs: RowKeys, config: ml_collections.ConfigDict
) -> Num[Array, "batch ..."]:
  """A random part of each image, resized to the whole, and every other image mirrored.

  `config` is the `augment` part of a run's configuration: a part has at least `min_crop_area` of the image's area (1:
  images are not cropped); `flip` mirrors. Without both it changes nothing. An image's draws follow from its
  row of the global batch.
  """
  if config.min_crop_area < 1:
    pixels = jax.vmap(_random_crop, (0, 0, None))(pixels, rngs.draw(), config.min_crop_area)
  if config.flip:
    mirrored = jax.vmap(jax.random.bernoulli)(rngs.draw())
    pixels = jnp.where(mirrored[:, None, None, None], pixels[:, :, ::-1], pixels)
  return pixels


def _random_crop(
  pixels: UInt8[Array, "size size 3"], key: Key[Array, ""], min_area: float
) -> UInt8[Array, "size size 3"]:
  """Bilinear and anti-aliased. Area and logarithm of the aspect are uniform; what is larger than the image is cut."""
  size = len(pixels)
  area_key, aspect_key, place_key = jax.random.split(key, 3)
  area = jax.random.uniform(area_key, minval=min_area, maxval=1.0)
  aspect = jnp.exp(jax.random.uniform(aspect_key, minval=math.log(ASPECTS[0]), maxval=math.log(ASPECTS[1])))
  extent = jnp.minimum(size * jnp.sqrt(area * jnp.stack([1 / aspect, aspect])), size)  # height, width
  start = jax.random.uniform(place_key, (2,)) * (size - extent)
  return crop_and_resize(pixels, start, extent)


def crop_and_resize(
  pixels: UInt8[Array, "size size 3"], start: Float[Array, "2"], extent: Float[Array, "2"]
) -> UInt8[Array, "size size 3"]:
  """The part with its top left corner at `start` and of `extent`, both (vertical, horizontal) in pixels, as large as
  the image."""
  scale = len(pixels) / extent
  resized = jax.image.scale_and_translate(
    pixels.astype(jnp.float32), pixels.shape, (0, 1), scale, -start * scale, method="bilinear"
  )
  return jnp.clip(jnp.round(resized), 0, 255).astype(jnp.uint8)
