"""How fast training goes, how much of the time it waits for data, and how much of the devices it uses."""

from collections.abc import Callable, Iterator
import contextlib
import itertools
import time

import jax


class Speed:
  """Measures from one report to the next; the time of compiling and of `paused` does not count."""

  def __init__(self, images_per_step: int, peak_flops: float | None = None, steps_per_call: int = 1):
    """`peak_flops` is what all devices together can do in a second, None where nobody knows."""
    self._images_per_step = images_per_step
    self._steps_per_call = steps_per_call
    self._peak_flops = peak_flops
    self._flops_per_step = 0.0
    self._compile_seconds: float | None = None
    self._mining_seconds = 0.0
    self._restart()

  def _restart(self) -> None:
    self._start, self._waited, self._steps = time.perf_counter(), 0.0, 0

  def watched(self, program: Callable, flops_per_step: Callable[..., float]) -> Callable:
    """`program`, a jitted function, whose first call counts as compiling: devices work on after a call returns.

    `flops_per_step` gives one step's operations for the same arguments.
    """

    def first_call(*args):
      with self.paused():
        self._flops_per_step = flops_per_step(*args)
        start = time.perf_counter()
        outputs = program(*args)
        self._compile_seconds = time.perf_counter() - start
      return outputs

    calls = itertools.chain([first_call], itertools.repeat(program))
    return lambda *args: next(calls)(*args)

  @contextlib.contextmanager
  def waiting(self) -> Iterator[None]:
    """Wraps the wait for one call's batch."""
    start = time.perf_counter()
    yield
    self._waited += time.perf_counter() - start
    self._steps += self._steps_per_call

  def images_per_second(self) -> float:
    """Since the last report."""
    return self._steps_per_second() * self._images_per_step

  def _steps_per_second(self) -> float:
    return self._steps / (time.perf_counter() - self._start)

  def report(self) -> dict[str, float]:
    """The metrics since the last report; starts anew. Those that cannot be known here are left out."""
    steps_per_second = self._steps_per_second()
    metrics = {
      "speed/steps_per_second": steps_per_second,
      "speed/images_per_second": steps_per_second * self._images_per_step,
      "speed/data_wait_fraction": self._waited / (time.perf_counter() - self._start),
    }
    if self._flops_per_step:
      metrics["speed/model_flops_per_second"] = steps_per_second * self._flops_per_step
      if self._peak_flops:
        metrics["speed/mfu"] = metrics["speed/model_flops_per_second"] / self._peak_flops
    metrics |= _peak_memory()
    if self._compile_seconds is not None:
      metrics["speed/compile_seconds"] = self._compile_seconds
      self._compile_seconds = None  # reported once
    if self._mining_seconds:
      metrics["speed/mining_seconds"] = self._mining_seconds
      self._mining_seconds = 0.0
    self._restart()
    return metrics

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Wraps what is not training, such as an evaluation."""
    start = time.perf_counter()
    yield
    self._start += time.perf_counter() - start

  @contextlib.contextmanager
  def mining(self) -> Iterator[None]:
    """Wraps the search for hard negatives, which is not training and reported by itself."""
    start = time.perf_counter()
    with self.paused():
      yield
    self._mining_seconds += time.perf_counter() - start


def _peak_memory() -> dict[str, float]:
  """The most memory that any device of this process has held at once; CPUs do not say."""
  peaks = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in jax.local_devices()]
  known = [peak for peak in peaks if peak is not None]
  return {"speed/peak_memory_bytes": max(known)} if known else {}
