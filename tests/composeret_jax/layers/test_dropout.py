import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.layers.dropout import Dropout, RowKeys


def dropped(rows, num_drawn=0, rate=0.25):
  return np.asarray(Dropout(rate)(jnp.ones((len(rows), 4000)), rngs=RowKeys(jax.random.key(0), rows, num_drawn)))


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


def test_evaluation_keeps_everything():
  dropout = Dropout(0.9)
  dropout.eval()
  np.testing.assert_array_equal(dropout(jnp.ones((2, 3)), rngs=None), 1)


def test_training_without_keys_is_refused():
  with pytest.raises(ValueError, match="RowKeys"):
    Dropout(0.5)(jnp.ones((2, 3)), rngs=None)
