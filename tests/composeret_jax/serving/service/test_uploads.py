import concurrent.futures
import io
import struct
import threading
import time
import zlib

import numpy as np
from PIL import Image
import pytest

from composeret_jax.serving.service.limits import uploads
from composeret_jax.serving.service.limits.uploads import read_upload
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import CENTRE, decode_image, Resizing, WHOLE_FIRST


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


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size():
  large = io.BytesIO()
  Image.new("RGB", (5000, 4000), (200, 10, 10)).save(large, "JPEG")
  pixels, _ = read_upload(large.getvalue(), 16)
  assert abs(pixels.astype(int) - [200, 10, 10]).max() < 4


def test_no_more_than_a_few_wait_to_be_decoded(monkeypatch):
  started, go_on, running, most = threading.Semaphore(0), threading.Event(), [0], [0]

  def decode(*_):
    running[0] += 1
    most[0] = max(most[0], running[0])
    started.release()
    assert go_on.wait(10)
    running[0] -= 1
    return np.zeros(1), b""

  monkeypatch.setattr(uploads, "decode_image", lambda *arguments: decode()[0])
  monkeypatch.setattr(uploads, "thumbnail", lambda *_: b"jpeg")
  content, places = encoded("PNG"), uploads.NUM_DECODERS + uploads.MAX_WAITING
  with concurrent.futures.ThreadPoolExecutor(places) as threads:
    futures = [threads.submit(read_upload, content, 16) for _ in range(places)]
    for _ in range(uploads.NUM_DECODERS):
      assert started.acquire(timeout=10)
    end = time.monotonic() + 10
    while uploads._places._value and time.monotonic() < end:
      time.sleep(0.001)
    with pytest.raises(uploads.Busy, match="Many pictures are being read at the moment"):
      read_upload(content, 16)
    go_on.set()
    assert [future.result()[1] for future in futures] == [b"jpeg"] * places
  assert most[0] == uploads.NUM_DECODERS
  read_upload(content, 16)


def test_too_much_is_refused_before_it_is_decoded(monkeypatch):
  monkeypatch.setattr(uploads, "decode_image", lambda *_: pytest.fail("decoded"))
  with pytest.raises(InputError, match=r"5,000 by 4,000 pixels; the largest that can be used has 12.5 million"):
    read_upload(png_header(5000, 4000), 16)
  progressive = io.BytesIO()
  Image.new("L", (5000, 4000)).save(progressive, "JPEG", progressive=True)
  with pytest.raises(InputError, match=r"the largest that can be used has 12.5 million"):
    read_upload(progressive.getvalue(), 16)
  with pytest.raises(InputError, match=r"the largest that can be used has 50 million"):
    read_upload(encoded("JPEG", (8, 8)).replace(b"\x00\x08\x00\x08", b"\x20\x00\x20\x00", 1), 16)
  with pytest.raises(InputError, match="too many pixels"):
    read_upload(png_header(60_000, 60_000), 16)
  with pytest.raises(InputError, match=r"20.0 MB; at most 20 MB"):
    read_upload(b"\0" * (uploads.MAX_BYTES + 1), 16)


def jpeg_of_three_scans(side):
  """Not progressive: each scan has one of the three components, so that decoders keep the numbers of all of them."""
  stream = io.BytesIO()
  Image.new("L", (side, side), 128).save(stream, "JPEG")
  grey = stream.getvalue()
  frame, scan = grey.index(b"\xff\xc0"), grey.index(b"\xff\xda")
  components = b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
  start = grey[:frame] + b"\xff\xc0\x00\x11" + grey[frame + 4 : frame + 9] + b"\x03" + components
  start += grey[frame + 13 : scan]
  scans = [b"\xff\xda\x00\x08\x01" + bytes([number, 0, 0, 63, 0]) + grey[scan + 10 : -2] for number in (1, 2, 3)]
  return start + b"".join(scans) + b"\xff\xd9"


def test_a_jpeg_whose_decoder_keeps_all_its_numbers_has_fewer_pixels(monkeypatch):
  pixels, _ = read_upload(jpeg_of_three_scans(40), 16)  # YCbCr of 128 each
  assert abs(pixels.astype(int) - 128).max() < 3
  monkeypatch.setattr(uploads, "decode_image", lambda *_: pytest.fail("decoded"))
  several = jpeg_of_three_scans(4000)
  for content in (several, several.replace(b"\xff\xdb", b"\xff\xd0\xff\xdb", 1)):
    with pytest.raises(InputError, match=r"4,000 by 4,000 pixels; the largest that can be used has 12.5 million"):
      read_upload(content, 16)


@pytest.mark.parametrize("resize", WHOLE_FIRST)
def test_a_model_that_needs_all_pixels_of_a_jpeg_takes_fewer(monkeypatch, resize):
  large = io.BytesIO()
  Image.new("L", (4000, 4000)).save(large, "JPEG")
  monkeypatch.setattr(uploads, "decode_image", lambda *_: pytest.fail("decoded"))
  with pytest.raises(InputError, match=r"the largest that can be used has 12.5 million"):
    read_upload(large.getvalue(), 16, Resizing(resize, "bilinear"))


def test_a_telephones_jpeg_with_a_second_picture_is_a_jpeg():
  stream = io.BytesIO()
  picture, small = Image.new("RGB", (4080, 3072), (200, 10, 10)), Image.new("RGB", (8, 8))
  picture.save(stream, "MPO", save_all=True, append_images=[small])
  pixels, _ = read_upload(stream.getvalue(), 16)
  assert abs(pixels.astype(int) - [200, 10, 10]).max() < 4
