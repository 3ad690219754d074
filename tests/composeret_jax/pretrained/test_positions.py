"""Position embeddings for images of another size; compared with PyTorch's in encoders/test_towers.py."""

import numpy as np

from composeret_jax.pretrained.towers.tower_folder import cubic_weights, resized_positions


def test_weights_between_samples_by_hand():
  # Twice as many samples lie a quarter to either side of the old ones: Keys' kernel at 1.25, 0.25, 0.75 and 1.75.
  kernel = [-0.10546875, 0.87890625, 0.26171875, -0.03515625]
  weights = cubic_weights(8, 16)
  np.testing.assert_allclose(weights[7, 2:6], kernel, atol=1e-12)
  np.testing.assert_allclose(weights[8, 2:6], kernel[::-1], atol=1e-12)
  np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_as_many_patches_keep_their_positions():
  positions = np.random.default_rng(0).normal(size=(17, 3)).astype(np.float32)
  assert resized_positions(positions, 16, 1) is positions


def test_the_class_token_stays_and_a_flat_field_stays_flat():
  positions = np.concatenate([[[7.0, 8.0]], np.full((16, 2), 3.0)]).astype(np.float32)
  resized = resized_positions(positions, 25, 1)
  assert resized.shape == (26, 2) and resized.dtype == np.float32
  np.testing.assert_array_equal(resized[0], [7, 8])
  np.testing.assert_allclose(resized[1:], 3, rtol=1e-6)


def test_rows_stay_rows():
  by_row = np.repeat(np.arange(4.0), 4)[:, None]
  resized = resized_positions(by_row, 64, 0).reshape(8, 8)
  np.testing.assert_allclose(resized, np.repeat(resized[:, :1], 8, axis=1), atol=1e-12)
  assert (np.diff(resized[:, 0]) > 0).all()
