"""Decodes an image to square uint8 pixels.

Measured on one core, from 500x375 photographs to 224 pixels: Pillow 390 images a second, simplejpeg with OpenCV 530,
OpenCV alone 510, but 0.6 grey levels off; simplejpeg at three quarters of the size 600, and 2.9 off. From 2000x1500:
Pillow 26, with libjpeg-turbo's scaled decoding to twice the size 58 and 0.3 grey levels off, OpenCV 40 and 1.7 off.
So Pillow, scaled where twice the size is left, stays: it is torchvision's resize, and the pixel store decodes once.
"""

from collections.abc import Iterator
import contextlib
import io
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image

from data_pipelines.input_error import InputError

DECODER_VERSION = 1  # a new number whenever pixels change: stores of other numbers are not used


# By content, whatever a file is called. Of Pillow's others some start programs (EPS).
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


# More than 8 bits in a channel, in modes that Pillow makes RGB by cutting off at 255: white images.
DEEP_MODES = ("F", "I", "I;16", "I;16B", "I;16L", "I;16N")
MAX_ASPECT = 200  # a line of 1 x 60,000 pixels would be resized to 224 x 13,440,000
INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}  # both anti-aliased
RESIZES = ("crop", "squash", "magic_lens", "pad")
PAD_RATIO = 1.25  # the longest shape, long side to short, that CLIP4Cir does not pad
MAGIC_LENS_SIZE = 224  # to which its original brings images before its model's own size


class Resizing(NamedTuple):
  """How an image becomes square: one of RESIZES, and a key of INTERPOLATIONS.

  "crop" brings the shorter side to the size and keeps the centre, "squash" brings both sides to it. "magic_lens"
  divides by the image's own largest value before it squashes, bilinearly (`magic_lens_pixels`). "pad" puts black
  beside the shorter side until the longer one is PAD_RATIO times as long, and then crops (CLIP4Cir's target padding).
  """

  resize: str = "crop"
  interpolation: str = "bilinear"


CENTRE = Resizing()
WHOLE_FIRST = ("magic_lens", "pad")  # they look at the whole image before it is smaller


def decode_image(encoded: bytes, size: int, name: str, resizing: Resizing = CENTRE) -> np.ndarray:
  """uint8 [size, size, 3] as of `square_pixels`, but a large JPEG is decoded smaller.

  Of an animation the first frame; alpha is dropped, EXIF's orientation and colour profiles are not applied, as in
  torchvision's loader. Raises InputError with `name` when the bytes are no whole image of `FORMATS` with at most 8 bits
  a channel, 200 times as long as wide and 178,956,970 pixels.
  """
  with readable(name), Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
    _check_usable(image)
    if resizing.resize in WHOLE_FIRST:
      return square_pixels(image, size, resizing)
    shape = _resized_shape(image.size, size, resizing)
    image.draft("RGB", (2 * shape[0], 2 * shape[1]))  # JPEG only: decodes a half, quarter or eighth, not below this
    return _resized_and_cropped(image, shape, size, resizing)


def square_pixels(image: Image.Image, size: int, resizing: Resizing = CENTRE) -> np.ndarray:
  """RGB, resized and cropped: uint8 [size, size, 3].

  Raises ValueError for an image that is too long or has more than 8 bits a channel.
  """
  _check_usable(image)
  if resizing.resize == "magic_lens":
    return np.rint(magic_lens_pixels(image, size) * 255).astype(np.uint8)
  if resizing.resize == "pad":
    image = padded(image)
  return _resized_and_cropped(image, _resized_shape(image.size, size, resizing), size, resizing)


def magic_lens_pixels(image: Image.Image, size: int) -> np.ndarray:
  """RGB as MagicLens reads it, float32 [size, size, 3] in [0, 1].

  Values are divided by the image's own largest one, not by 255, then both sides brought to MAGIC_LENS_SIZE, then to the
  size, by a triangle that is as wide as the image shrinks. decode_image rounds to the nearest of 256 levels.
  """
  values = np.asarray(image.convert("RGB"), np.float32)
  values = values / (values.max() + np.float32(1e-12))
  for side in (MAGIC_LENS_SIZE, size):
    channels = [Image.fromarray(np.ascontiguousarray(channel)) for channel in np.moveaxis(values, 2, 0)]
    resized = [np.asarray(channel.resize((side, side), INTERPOLATIONS["bilinear"])) for channel in channels]
    values = np.stack(resized, axis=2)
  return values


def padded(image: Image.Image) -> Image.Image:
  """RGB with black on both sides of what is more than PAD_RATIO times as long as wide, or the image itself.

  As CLIP4Cir's: the square of longest side / PAD_RATIO is the least that both sides have afterwards, and both sides of
  the padding are half of what lacks, rounded down.
  """
  width, height = image.size
  if max(width, height) < PAD_RATIO * min(width, height):
    return image
  least = max(width, height) / PAD_RATIO
  across, down = (max(int((least - side) / 2), 0) for side in (width, height))
  canvas = Image.new("RGB", (width + 2 * across, height + 2 * down))
  canvas.paste(image.convert("RGB"), (across, down))
  return canvas


class UnreadableImage(InputError):
  """An image that is not whole, or of a kind that is refused."""


@contextlib.contextmanager
def readable(name: str) -> Iterator[None]:
  """Raises UnreadableImage with `name` where an image turns out not to be whole."""
  try:
    yield
  except MemoryError:
    raise
  except PIL.UnidentifiedImageError as error:
    raise UnreadableImage(f"{name}: not a readable image (empty, damaged, or none of {', '.join(FORMATS)})") from error
  except Exception as error:  # what a damaged file makes Pillow's parsers run into: IndexError, struct.error, ...
    raise UnreadableImage(f"{name}: not a readable image ({error})") from error


def _check_usable(image: Image.Image) -> None:
  """From the header, before pixels are decoded."""
  width, height = image.size
  if not 0 < max(width, height) <= MAX_ASPECT * min(width, height):
    raise ValueError(f"it has {width:,} x {height:,} pixels, expected at most {MAX_ASPECT} times as long as wide")
  if image.mode in DEEP_MODES:
    raise ValueError(f"it has more than 8 bits a channel, as Pillow's mode {image.mode}: make it 8 bits")


def _resized_and_cropped(image: Image.Image, shape: tuple[int, int], size: int, resizing: Resizing) -> np.ndarray:
  left, top = (round((side - size) / 2) for side in shape)
  pixels = image if image.mode == "RGB" else image.convert("RGB")  # `convert` copies what is RGB already
  resized = pixels.resize(shape, INTERPOLATIONS[resizing.interpolation])
  return np.asarray(resized.crop((left, top, left + size, top + size)))


def _resized_shape(shape: tuple[int, int], shorter: int, resizing: Resizing) -> tuple[int, int]:
  """As torchvision's Resize: the longer side is rounded down."""
  if resizing.resize == "squash":
    return shorter, shorter
  width, height = shape
  if width <= height:
    return shorter, int(shorter * height / width)
  return int(shorter * width / height), shorter


# Of FORMATS: files that are found without a list of them have one of these.
SUFFIXES = (
  *(".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg"),
  *(".jpf", ".jpg", ".jpx", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
