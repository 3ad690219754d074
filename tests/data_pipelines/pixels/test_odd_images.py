import numpy as np
import pytest

from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import decode_image
from tests.fakes import odd_images
from tests.fakes.odd_images import EXACT, LOSSLESS, LOSSY, REFUSED, SIDE


def test_there_are_many():
  assert len(REFUSED) >= 60
  assert len(EXACT) + len(LOSSY) >= 50


@pytest.mark.parametrize("name", EXACT)
def test_odd_images_give_their_pixels(name):
  """Of an animation the first frame, without alpha, and as the file has them whatever EXIF says of orientation."""
  encoded, expected = EXACT[name]
  np.testing.assert_array_equal(decode_image(encoded, SIDE, name), expected)


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_images_give_their_colour(name):
  pixels = decode_image(LOSSY[name], SIDE, name)
  assert np.abs(pixels.astype(int) - odd_images.FLAT_PIXELS).max() <= 4


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_bad_images_are_refused_by_name(name):
  encoded, message = REFUSED[name]
  with pytest.raises(InputError) as caught:
    decode_image(encoded, SIDE, f"old cat/{name}")
  assert str(caught.value).startswith(f"old cat/{name}: not a readable image (")
  assert message in str(caught.value)


@pytest.mark.parametrize("name", [*LOSSLESS, *LOSSY])
def test_damaged_images_give_pixels_or_an_error_that_names_them(name):
  rng = np.random.default_rng(len(name))
  whole = np.frombuffer(LOSSLESS.get(name) or LOSSY[name], np.uint8)
  for _ in range(60):
    damaged = whole.copy()
    places = rng.integers(len(whole), size=rng.integers(1, 8))
    damaged[places] = rng.integers(0, 256, len(places), np.uint8)
    try:
      assert decode_image(damaged[: rng.integers(1, len(whole) + 1)].tobytes(), SIDE, name).shape == (SIDE, SIDE, 3)
    except InputError as error:
      assert str(error).startswith(name)
