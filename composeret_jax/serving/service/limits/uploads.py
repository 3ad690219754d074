"""Images that strangers send: looked at before they are decoded."""

import concurrent.futures
import io
import threading

import numpy as np
import PIL
from PIL import Image

from composeret_jax.serving.index.thumbnail import thumbnail
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import CENTRE, decode_image, Resizing

MAX_BYTES = 20_000_000
MAX_PIXELS = 12_500_000
MAX_JPEG_PIXELS = 50_000_000  # of JPEGs that are decoded line by line, at an eighth of their size
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")
NUM_DECODERS, MAX_WAITING = 2, 8  # a large image takes a hundred megabytes, and one that waits a thread of the server
_decoders = concurrent.futures.ThreadPoolExecutor(NUM_DECODERS, "decode")
_places = threading.BoundedSemaphore(NUM_DECODERS + MAX_WAITING)


class Busy(InputError):
  """Too many images wait to be decoded."""


def read_upload(encoded: bytes, size: int, resizing: Resizing = CENTRE) -> tuple[np.ndarray, bytes]:
  """uint8 pixels [size, size, 3] as for the gallery, and a JPEG thumbnail.

  Raises InputError in the sender's words, and Busy when more than MAX_WAITING images wait already.
  """
  if len(encoded) > MAX_BYTES:
    raise InputError(f"This file has {len(encoded) / 1e6:,.1f} MB; at most {MAX_BYTES / 1e6:g} MB can be used.")
  _check_pixels(encoded)
  if not _places.acquire(blocking=False):
    raise Busy("Many pictures are being read at the moment. Try again in a few seconds.")
  try:
    return _decoders.submit(
      lambda: (decode_image(encoded, size, "The file", resizing), thumbnail(encoded, "The file"))
    ).result()
  finally:
    _places.release()


def _check_pixels(encoded: bytes) -> None:
  """From the header alone."""
  try:
    with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
      by_lines = image.format == "JPEG" and not image.info.get("progressive")
      width, height = image.size
  except Image.DecompressionBombError as error:
    raise InputError(f"This image has too many pixels; the largest has {MAX_PIXELS / 1e6:g} million.") from error
  except (PIL.UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
    raise InputError(f"This file is no image that can be read. {', '.join(FORMATS)} can.") from error
  most = MAX_JPEG_PIXELS if by_lines else MAX_PIXELS
  if width * height > most:
    raise InputError(
      f"This image has {width:,} by {height:,} pixels; the largest that can be used has {most / 1e6:g} million."
    )
