"""Images that strangers send: looked at before they are decoded."""

import io
import threading

import numpy as np
import PIL
from PIL import Image

from composeret_jax.serving.index.thumbnail import thumbnail
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import CENTRE, decode_image, Resizing

MAX_BYTES = 20_000_000


MAX_PIXELS = 50_000_000


FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")


_decoding = threading.Semaphore(2)  # a large image takes some hundred megabytes


def read_upload(encoded: bytes, size: int, resizing: Resizing = CENTRE) -> tuple[np.ndarray, bytes]:
  """uint8 pixels [size, size, 3] as for the gallery, and a JPEG thumbnail; raises InputError in the sender's words."""
  if len(encoded) > MAX_BYTES:
    raise InputError(f"This file has {len(encoded) / 1e6:,.1f} MB; at most {MAX_BYTES / 1e6:g} MB can be used.")
  width, height = _size(encoded)
  if width * height > MAX_PIXELS:
    raise InputError(
      f"This image has {width:,} by {height:,} pixels; the largest that can be used has {MAX_PIXELS / 1e6:g} million."
    )
  with _decoding:
    return decode_image(encoded, size, "The file", resizing), thumbnail(encoded, "The file")


def _size(encoded: bytes) -> tuple[int, int]:
  """From the header alone."""
  try:
    with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
      return image.size
  except Image.DecompressionBombError as error:
    raise InputError(f"This image has too many pixels; the largest has {MAX_PIXELS / 1e6:g} million.") from error
  except (PIL.UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
    raise InputError(f"This file is no image that can be read. {', '.join(FORMATS)} can.") from error
