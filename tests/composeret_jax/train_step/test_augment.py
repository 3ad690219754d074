import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from PIL import Image
import pytest

from composeret_jax.models.layers.dropout import RowKeys
from composeret_jax.train_step.augment import augment, crop_and_resize

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)


def augmented(rows, **fields):
  config = ml_collections.ConfigDict({"min_crop_area": 1.0, "flip": False} | fields)
  keys = RowKeys(jax.random.key(0), jnp.asarray(rows))
  return np.asarray(jax.jit(lambda pixels: augment(pixels, keys, config))(PIXELS[rows]))


@pytest.mark.parametrize("start, extent", [((0, 0), (32, 32)), ((4.5, 9.25), (20, 16.5)), ((16, 0), (8, 24))])
def test_a_part_is_resized_as_by_pillow(start, extent):
  smooth = np.asarray(Image.fromarray(PIXELS[0, :8, :8]).resize((32, 32), Image.Resampling.BICUBIC))
  box = (start[1], start[0], start[1] + extent[1], start[0] + extent[0])
  expected = np.asarray(Image.fromarray(smooth).resize((32, 32), Image.Resampling.BILINEAR, box=box), np.int32)
  found = np.asarray(crop_and_resize(jnp.asarray(smooth), jnp.array(start, float), jnp.array(extent, float)), np.int32)
  assert np.abs(found - expected).max() <= 1


def test_what_a_row_draws_does_not_depend_on_the_rows_beside_it():
  whole = augmented(np.arange(8), min_crop_area=0.3, flip=True)
  np.testing.assert_array_equal(augmented(np.arange(4, 8), min_crop_area=0.3, flip=True), whole[4:])
  assert not np.array_equal(whole, PIXELS)


def test_mirrored_images_are_mirrored_and_others_are_not():
  found = augmented(np.arange(8), flip=True)
  mirrored = [np.array_equal(image, pixels[:, ::-1]) for image, pixels in zip(found, PIXELS, strict=True)]
  same = [np.array_equal(image, pixels) for image, pixels in zip(found, PIXELS, strict=True)]
  assert 0 < sum(mirrored) < 8 and sum(mirrored) + sum(same) == 8


def test_without_it_pixels_are_as_they_were():
  np.testing.assert_array_equal(augmented(np.arange(8)), PIXELS)
