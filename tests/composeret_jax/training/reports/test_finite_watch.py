import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.evaluation.retrieval import check_features, NonFiniteError
from composeret_jax.training.reports.finite_watch import FiniteWatch


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_a_bad_loss_stops_with_its_step_values_and_the_last_good_checkpoint(bad):
  watch = FiniteWatch(lambda: "last good checkpoint: runs/a/20", 3)
  watch.take(1, {"total": jnp.array(1.0)})
  watch.take(2, {"total": jnp.array(bad), "main": jnp.array(0.5)})
  with pytest.raises(NonFiniteError, match=r"step 2: .*main 0\.5, total (nan|inf).*runs/a/20"):
    watch.take(3, {"total": jnp.array(1.0)})


def test_check_returns_the_latest_losses():
  watch = FiniteWatch(lambda: "", 3)
  watch.take(1, {"total": jnp.array(1.0)})
  watch.take(2, {"total": jnp.array(3.0)})
  assert watch.check() == {"total": 3.0}
  assert watch.check() == {"total": 3.0}


def skipped(total, in_a_row, loss=float("nan")):
  return {"total": jnp.array(loss), "num_skipped": jnp.array(total), "num_skipped_in_a_row": jnp.array(in_a_row)}


def test_a_skipped_step_is_said_and_reports_no_loss(capsys):
  watch = FiniteWatch(lambda: "", max_skipped_in_a_row=3)
  watch.take(7, skipped(2, 1))
  assert watch.check() == {"num_skipped": 2, "num_skipped_in_a_row": 1}
  assert "step 7: not finite (total nan); skipped, 2 until now" in capsys.readouterr().err
  watch.take(8, skipped(2, 0, loss=1.5))
  assert watch.check() == {"total": 1.5, "num_skipped": 2, "num_skipped_in_a_row": 0}
  assert not capsys.readouterr().err


def test_a_run_stops_after_so_many_skipped_steps_in_a_row():
  watch = FiniteWatch(lambda: "last good checkpoint: runs/a/20", max_skipped_in_a_row=3)
  watch.take(1, skipped(1, 1))
  watch.take(2, skipped(2, 2))
  watch.take(3, skipped(3, 3))
  with pytest.raises(NonFiniteError, match=r"step 3: .*as the 2 steps before it; last good checkpoint: runs/a/20"):
    watch.check()


def test_every_step_of_a_call_is_judged():
  watch = FiniteWatch(lambda: "", max_skipped_in_a_row=3)
  watch.take(4, {"total": jnp.array([1.0, jnp.nan, 1.0, 1.0])})
  with pytest.raises(NonFiniteError, match="step 2: "):
    watch.check()


def test_features_that_are_not_finite_are_counted_and_named():
  good, bad = np.zeros((3, 2)), np.array([[0, 0], [0, np.inf], [np.nan, 0]])
  check_features(gallery=good, composed=good)
  with pytest.raises(NonFiniteError, match="2 of 3 composed features are not finite, the first in row 1"):
    check_features(gallery=good, composed=bad)
