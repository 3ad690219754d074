import io

import numpy as np
from PIL import Image
import pytest

from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import decode_image, padded, Resizing, square_pixels


def png(image):
  buffer = io.BytesIO()
  image.save(buffer, "PNG")
  return buffer.getvalue()


def stripes(width, height):
  """Columns count up from the left in red, rows from the top in green."""
  y, x = np.mgrid[:height, :width]
  return np.stack([x, y, np.zeros_like(x)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(("width", "height", "left", "top"), [(10, 6, 2, 0), (6, 10, 0, 2), (6, 6, 0, 0), (9, 6, 2, 0)])
def test_the_centre_is_kept(width, height, left, top):
  pixels = decode_image(png(Image.fromarray(stripes(width, height))), 6, "x")
  assert pixels.shape == (6, 6, 3)
  assert pixels.dtype == np.uint8
  np.testing.assert_array_equal(pixels, stripes(width, height)[top : top + 6, left : left + 6])


def test_shrinking_averages():
  board = np.indices((8, 8)).sum(axis=0) % 2 * 200
  pixels = decode_image(png(Image.fromarray(board.astype(np.uint8))), 2, "x")
  assert np.abs(pixels.astype(int) - 100).max() <= 2


def test_grey_palette_and_alpha_become_rgb():
  for mode in ("L", "P", "RGBA", "LA"):
    assert decode_image(png(Image.new(mode, (4, 4))), 4, "x").shape == (4, 4, 3)


def test_a_truncated_image_is_named():
  noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
  with pytest.raises(InputError, match=r"old cat/1\.jpg"):
    decode_image(png(Image.fromarray(noise))[:500], 8, "old cat/1.jpg")


@pytest.mark.parametrize(
  ("interpolation", "pillows"), [("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)]
)
def test_resizing_is_pillows(interpolation, pillows):
  noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 20, 3), dtype=np.uint8))
  squashed = np.asarray(noise.resize((6, 6), pillows))
  cropped = np.asarray(noise.resize((10, 6), pillows))[:, 2:8]
  for resize, expected in (("squash", squashed), ("crop", cropped)):
    how = Resizing(resize, interpolation)
    np.testing.assert_array_equal(square_pixels(noise, 6, how), expected)
    np.testing.assert_array_equal(decode_image(png(noise), 6, "x", how), expected)


@pytest.mark.parametrize(
  ("shape", "padded_shape"),
  [((100, 100), (100, 100)), ((124, 100), (124, 100)), ((200, 100), (200, 160)), ((51, 255), (203, 255))],
)
def test_pad_brings_long_images_to_the_target_ratio(shape, padded_shape):
  """By hand: int((200 / 1.25 - 100) / 2) = 30 black columns at each side, int((255 / 1.25 - 51) / 2) = 76."""
  image = Image.new("RGB", shape, "white")
  result = padded(image)
  assert result.size == padded_shape
  white = np.argwhere(np.asarray(result).all(axis=2))
  height, width = white.max(axis=0) - white.min(axis=0) + 1
  assert (width, height) == shape
  border = [(whole - own) // 2 for own, whole in zip(shape, padded_shape, strict=True)]
  assert white.min(axis=0).tolist() == border[::-1]


def test_padded_pixels_are_those_of_the_padded_image_cropped():
  rng = np.random.default_rng(0)
  image = Image.fromarray(rng.integers(0, 256, (40, 100, 3), np.uint8))
  np.testing.assert_array_equal(square_pixels(image, 16, Resizing("pad")), square_pixels(padded(image), 16))
