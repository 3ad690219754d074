"""The small picture of each image."""

import io

import numpy as np
from PIL import Image
import pytest

from composeret_jax.serving.index.thumbnail import MOST_BYTES, SIDE, thumbnail


def encoded(pixels, format="PNG", **options):
  stream = io.BytesIO()
  Image.fromarray(pixels).save(stream, format, **options)
  return stream.getvalue()


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_it_has_twice_the_pixels_of_a_card_and_is_upright(format):
  pixels = np.zeros((400, 1200, 3), np.uint8)
  pixels[:, :600] = 250
  turned = Image.Exif()
  turned[0x0112] = 8  # a quarter turn to the left
  small = Image.open(io.BytesIO(thumbnail(encoded(pixels, format, exif=turned), "a")))
  assert small.format == "JPEG" and small.size == (round(SIDE / 3), SIDE) and SIDE >= 2 * 148
  assert np.asarray(small)[-20:].mean() > 240 and np.asarray(small)[:20].mean() < 10


def test_none_is_larger_than_milvus_takes():
  noise = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
  jpeg = thumbnail(encoded(noise), "a")
  assert MOST_BYTES / 2 < len(jpeg) <= MOST_BYTES < 65_535 * 3 / 4  # which base64 makes of it


def test_a_small_image_stays_small():
  assert Image.open(io.BytesIO(thumbnail(encoded(np.zeros((30, 40, 3), np.uint8)), "a"))).size == (40, 30)
