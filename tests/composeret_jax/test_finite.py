import jax.numpy as jnp
import pytest

from composeret_jax.finite import FiniteWatch, NonFiniteLossError


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_a_bad_loss_stops_with_its_step_values_and_the_last_good_checkpoint(bad):
  watch = FiniteWatch(lambda: "last good checkpoint: runs/a/20")
  watch.take(1, {"total": jnp.array(1.0)})
  watch.take(2, {"total": jnp.array(bad), "main": jnp.array(0.5)})
  with pytest.raises(NonFiniteLossError, match=r"step 2: .*main 0\.5, total (nan|inf).*runs/a/20"):
    watch.take(3, {"total": jnp.array(1.0)})


def test_check_returns_the_latest_losses():
  watch = FiniteWatch(lambda: "")
  watch.take(1, {"total": jnp.array(1.0)})
  watch.take(2, {"total": jnp.array(3.0)})
  assert watch.check() == {"total": 3.0}
  assert watch.check() == {"total": 3.0}
