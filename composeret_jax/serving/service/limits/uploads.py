"""Images that strangers send: looked at before they are decoded."""

import concurrent.futures
import io
import threading

import numpy as np
import PIL
from PIL import Image

from composeret_jax.serving.index.thumbnail import thumbnail
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import CENTRE, decode_image, Resizing, WHOLE_FIRST

MAX_BYTES = 20_000_000
MAX_PIXELS = 12_500_000
MAX_JPEG_PIXELS = 50_000_000  # of JPEGs that are decoded line by line, at an eighth of their size
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")
JPEGS = ("JPEG", "MPO")  # Pillow calls a telephone's JPEG MPO where smaller pictures follow the first
# Markers of a JPEG's segments: frames that have no later scan of the same numbers, a scan, and what is passed over.
FRAMES, SCAN, PASSED_OVER = (0xC0, 0xC1), 0xDA, (0xC4, 0xCC, *range(0xDB, 0xFF))
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
  _check_pixels(encoded, is_whole_first=resizing.resize in WHOLE_FIRST)
  if not _places.acquire(blocking=False):
    raise Busy("Many pictures are being read at the moment. Try again in a few seconds.")
  try:
    return _decoders.submit(
      lambda: (decode_image(encoded, size, "The file", resizing), thumbnail(encoded, "The file"))
    ).result()
  finally:
    _places.release()


def _check_pixels(encoded: bytes, is_whole_first: bool) -> None:
  """From the header alone; `is_whole_first` says that the model's resizing needs all pixels of a JPEG, too."""
  try:
    with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
      by_lines = image.format in JPEGS and not is_whole_first and _has_one_scan(encoded)
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


def _has_one_scan(jpeg: bytes) -> bool:
  """Whether the first scan has all components, and all of each: else the decoder keeps the whole image's coefficients.

  False for headers that are not one segment after the other, too: decoders read these in their own ways.
  """
  place, num_components = 2, 0
  while place + 10 <= len(jpeg) and jpeg[place] == 0xFF:
    marker = jpeg[place + 1]
    if marker == SCAN:
      return jpeg[place + 4] == num_components
    if marker in FRAMES:
      num_components = jpeg[place + 9]
    elif marker not in PASSED_OVER:
      return False
    place += 2 + int.from_bytes(jpeg[place + 2 : place + 4])
  return False
