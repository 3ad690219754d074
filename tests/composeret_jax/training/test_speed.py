import functools
import time

import jax
import jax.numpy as jnp
import pytest

from composeret_jax.training import profiling as peak_flops
from composeret_jax.training.profiling import new_speed, program_flops, Speed
from configs import catalogue

FLOPS = 2 * 32 * 64 * 64


def product(a, b):
  return a @ b


def measured(**arguments):
  """A report after ten steps of 10 ms, 2 ms of each waiting for data."""
  speed = Speed(images_per_step=8, **arguments)
  step = speed.watched(jax.jit(product), functools.partial(program_flops, product))
  for _ in range(10):
    with speed.waiting():
      time.sleep(0.002)
    jax.block_until_ready(step(jnp.ones((32, 64)), jnp.ones((64, 64))))
    time.sleep(0.008)
  return speed, speed.report()


def test_what_is_reported_belongs_together():
  speed, report = measured(peak_flops=1e9)
  steps_per_second = report["speed/steps_per_second"]
  assert 10 < steps_per_second < 100
  assert report["speed/images_per_second"] == pytest.approx(8 * steps_per_second)
  assert 0.02 < report["speed/data_wait_fraction"] < 0.9
  assert report["speed/model_flops_per_second"] == pytest.approx(FLOPS * steps_per_second, rel=0.01)
  assert report["speed/mfu"] == pytest.approx(report["speed/model_flops_per_second"] / 1e9)
  assert report["speed/compile_seconds"] > 0
  assert "speed/compile_seconds" not in speed.report()


def test_no_share_of_an_unknown_peak():
  assert peak_flops.peak_flops("float32", 0.0) is None  # a CPU
  _, report = measured(peak_flops=None)
  assert "speed/mfu" not in report
  assert report["speed/model_flops_per_second"] > 0


def test_the_peak_is_that_of_all_devices(monkeypatch):
  assert peak_flops.peak_flops("float32", 3e9) == 3e9 * jax.device_count()
  monkeypatch.setitem(peak_flops.PEAK_FLOPS, jax.devices()[0].device_kind, (2e9, None))
  assert peak_flops.peak_flops("bfloat16", 0.0) == 2e9 * jax.device_count()
  assert peak_flops.peak_flops("float32", 0.0) is None


def test_compiling_is_not_training_time():
  speed = Speed(images_per_step=1)

  def slow_to_trace(a, b):
    time.sleep(0.3)
    return a @ b

  with speed.waiting():
    pass
  speed.watched(jax.jit(slow_to_trace), functools.partial(program_flops, product))(jnp.ones((2, 2)), jnp.ones((2, 2)))
  report = speed.report()
  assert report["speed/compile_seconds"] >= 0.3
  assert report["speed/steps_per_second"] > 1 / 0.3


def test_the_images_of_a_step_are_all_that_it_encodes():
  config = catalogue.get_config()
  config.batch_size, config.data.negatives_per_query = 8, 4
  config.hard_negatives.update(every_steps=2, num=3)
  speed = new_speed(config)
  with speed.waiting():
    pass
  report = speed.report()
  assert report["speed/images_per_second"] / report["speed/steps_per_second"] == pytest.approx(8 * (2 + 4 + 3))
