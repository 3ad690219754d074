import io
import struct
import zlib

import numpy as np
from PIL import Image
import pytest

from composeret_jax.serving.page import uploads
from composeret_jax.serving.page.uploads import read_upload
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import CENTRE, decode_image, Resizing


def encoded(format, size=(40, 30)):
  stream = io.BytesIO()
  pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
  Image.fromarray(pixels).save(stream, format)
  return stream.getvalue()


def png_header(width, height):
  """A PNG that says it has this size, and has no pixels."""
  chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
  end = b"IDAT" + zlib.compress(b"")
  parts = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (chunk, end)]
  return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("resizing", [CENTRE, Resizing("squash", "bicubic")])
@pytest.mark.parametrize("format", uploads.FORMATS)
def test_images_are_read_as_the_gallerys_are(format, resizing):
  content = encoded(format)
  pixels, thumbnail = read_upload(content, 16, resizing)
  np.testing.assert_array_equal(pixels, decode_image(content, 16, "same", resizing))
  assert Image.open(io.BytesIO(thumbnail)).size == (40, 30)


@pytest.mark.parametrize(
  "content",
  [b"", b"a text that is called .png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0 EPSF-3.0\n"]
  + [b"%PDF-1.7", encoded("TIFF")],
)
def test_what_is_no_image_is_said_in_plain_words(content):
  with pytest.raises(InputError, match=r"This file is no image that can be read. BMP, GIF, JPEG, PNG, WEBP can."):
    read_upload(content, 16)


def test_half_an_image_is_said():
  with pytest.raises(InputError, match="The file: not a readable image"):
    read_upload(encoded("PNG")[:2000], 16)


def test_too_much_is_refused_before_it_is_decoded(monkeypatch):
  monkeypatch.setattr(uploads, "decode_image", lambda *_: pytest.fail("decoded"))
  with pytest.raises(InputError, match=r"8,000 by 7,000 pixels; the largest that can be used has 50 million"):
    read_upload(png_header(8000, 7000), 16)
  with pytest.raises(InputError, match="too many pixels"):
    read_upload(png_header(60_000, 60_000), 16)
  with pytest.raises(InputError, match=r"20.0 MB; at most 20 MB"):
    read_upload(b"\0" * (uploads.MAX_BYTES + 1), 16)
