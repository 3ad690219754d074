"""Images as they are given, to the pixels that the model was trained on."""

from collections.abc import Sequence
import os
import pathlib

import numpy as np
from PIL import Image

from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import decode_image, readable, Resizing, square_pixels

# A path, an encoded image, an open one, or uint8 pixels [height, width, 3] of any size.
ImageInput = str | os.PathLike | bytes | Image.Image | np.ndarray

# A list of them, or an array of pixels [num, height, width, 3].
Images = Sequence[ImageInput] | np.ndarray


def batch_pixels(images: Images, first: int, size: int, resizing: Resizing) -> np.ndarray:
  """uint8 pixels [num, size, size, 3]; the first image is called number `first` where it has no name of its own."""
  return np.stack([to_pixels(image, size, resizing, f"image {number}") for number, image in enumerate(images, first)])


def to_pixels(image: ImageInput, size: int, resizing: Resizing, name: str) -> np.ndarray:
  """uint8 pixels [size, size, 3], resized and cropped as in training; raises InputError with the path or the `name`."""
  if isinstance(image, np.ndarray):
    image = _from_array(image, name)
  if isinstance(image, Image.Image):
    with readable(name):
      return square_pixels(image, size, resizing)
  if isinstance(image, bytes):
    return decode_image(image, size, name, resizing)
  path = pathlib.Path(image)
  try:
    if path.exists() and not path.is_file():
      raise InputError(f"{image} is no file")  # reading a device may not end
    encoded = path.read_bytes()
  except OSError as error:
    raise InputError(f"{image} cannot be read: {error.strerror}") from error
  except ValueError as error:  # a zero byte
    raise InputError(f"{str(image)!r} is no path: {error}") from error
  return decode_image(encoded, size, str(image), resizing)


def _from_array(array: np.ndarray, name: str) -> Image.Image:
  if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
    raise InputError(f"{name} is an array {array.dtype}{list(array.shape)}, expected uint8[height, width, 3]")
  return Image.fromarray(np.ascontiguousarray(array))
