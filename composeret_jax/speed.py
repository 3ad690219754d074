"""How fast training goes, and how much of the time it waits for data."""

from collections.abc import Iterator
import contextlib
import time


class Speed:
  """Measures from one report to the next."""

  def __init__(self, images_per_step: int):
    self._images_per_step = images_per_step
    self._restart()

  def _restart(self) -> None:
    self._start, self._waited, self._steps = time.perf_counter(), 0.0, 0

  @contextlib.contextmanager
  def waiting(self) -> Iterator[None]:
    """Wraps the wait for one step's batch."""
    start = time.perf_counter()
    yield
    self._waited += time.perf_counter() - start
    self._steps += 1

  def images_per_second(self) -> float:
    """Since the last report."""
    return self._steps * self._images_per_step / (time.perf_counter() - self._start)

  def report(self) -> dict[str, float]:
    """The metrics since the last report; starts anew."""
    waited = self._waited / (time.perf_counter() - self._start)
    metrics = {"speed/images_per_second": self.images_per_second(), "speed/data_wait_fraction": waited}
    self._restart()
    return metrics

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Wraps what is not training, such as an evaluation."""
    start = time.perf_counter()
    yield
    self._start += time.perf_counter() - start
