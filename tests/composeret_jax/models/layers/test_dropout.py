import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.models.layers.dropout import CoinDropout, Dropout, RowKeys


def dropped(rows, num_drawn=0, dropout=None, width=4000):
  dropout = dropout or Dropout(0.25)
  return np.asarray(dropout(jnp.ones((len(rows), width)), rngs=RowKeys(jax.random.key(0), rows, num_drawn)))


def test_it_zeroes_a_quarter_and_scales_the_rest():
  values, counts = np.unique(dropped(jnp.arange(8)), return_counts=True)
  np.testing.assert_allclose(values, [0, 4 / 3], rtol=1e-6)
  assert counts[0] / counts.sum() == pytest.approx(0.25, abs=0.01)


def test_a_row_draws_the_same_whatever_rows_are_beside_it():
  whole = dropped(jnp.arange(8))
  np.testing.assert_array_equal(whole[[5, 2]], dropped(jnp.array([5, 2])))
  assert len(np.unique(whole, axis=0)) == 8


def test_the_next_draw_is_another():
  assert (dropped(jnp.arange(8)) != dropped(jnp.arange(8), num_drawn=1)).any()


@pytest.mark.parametrize("width", [4000, 4001, 31])
def test_a_coin_zeroes_a_half_and_doubles_the_rest(width):
  whole = dropped(jnp.arange(100), dropout=CoinDropout(), width=width)
  assert np.unique(whole).tolist() == [0.0, 2.0]
  assert (whole > 0).mean() == pytest.approx(0.5, abs=0.05)
  per_column = (whole > 0).mean(axis=0)
  assert per_column.min() > 0.2 and per_column.max() < 0.8  # a bit that is always set would stand out
  np.testing.assert_array_equal(whole[[5, 2]], dropped(jnp.array([5, 2]), dropout=CoinDropout(), width=width))
  assert (whole != dropped(jnp.arange(100), num_drawn=1, dropout=CoinDropout(), width=width)).any()


def test_neighbouring_coins_are_independent():
  kept = dropped(jnp.arange(100), dropout=CoinDropout()) > 0
  for shift in (1, 2, 31, 32):
    assert (kept[:, shift:] == kept[:, :-shift]).mean() == pytest.approx(0.5, abs=0.01)
  assert (kept[1:] == kept[:-1]).mean() == pytest.approx(0.5, abs=0.01)


def test_evaluation_keeps_everything():
  dropout = Dropout(0.9)
  dropout.eval()
  np.testing.assert_array_equal(dropout(jnp.ones((2, 3)), rngs=None), 1)


def test_training_without_keys_is_refused():
  with pytest.raises(ValueError, match="RowKeys"):
    Dropout(0.5)(jnp.ones((2, 3)), rngs=None)
