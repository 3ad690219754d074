"""Decodes an image to square uint8 pixels."""

import io

from jaxtyping import UInt8
import numpy as np
import PIL
from PIL import Image

from data_pipelines.input_error import InputError


def decode_image(encoded: bytes, size: int, name: str) -> UInt8[np.ndarray, "size size 3"]:
  """RGB, the shorter side resized to `size` (bilinear, anti-aliased), then the centre.

  Raises InputError with `name` when the bytes are no whole image.
  """
  try:
    with Image.open(io.BytesIO(encoded)) as image:
      rgb = image.convert("RGB")
  except (PIL.UnidentifiedImageError, OSError, SyntaxError) as error:
    raise InputError(f"{name}: not a readable image ({error})") from error
  width, height = _size_with_shorter_side(rgb.size, size)
  left, top = round((width - size) / 2), round((height - size) / 2)
  resized = rgb.resize((width, height), Image.Resampling.BILINEAR)
  return np.asarray(resized.crop((left, top, left + size, top + size)))


def _size_with_shorter_side(size: tuple[int, int], shorter: int) -> tuple[int, int]:
  """As torchvision's Resize: the longer side is rounded down."""
  width, height = size
  if width <= height:
    return shorter, int(shorter * height / width)
  return int(shorter * width / height), shorter
