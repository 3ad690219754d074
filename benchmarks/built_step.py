"""A train step of ours or of a rival, built on one batch that stays on the device, ready to be timed."""

from collections.abc import Callable
import dataclasses
import time


@dataclasses.dataclass(frozen=True)
class BuiltStep:
  """`call` does a step and may return before it is done; `wait` returns when all are."""

  call: Callable[[], None]
  wait: Callable[[], None]
  num_parameters: int
  device: str
  flops: Callable[[], float] | None = None  # operations of one step, where the program can tell
  hlo_text: Callable[[], str] | None = None  # the compiled program

  def seconds_per_call(self, num_calls: int) -> float:
    """The mean over `num_calls` calls."""
    start = time.perf_counter()
    for _ in range(num_calls):
      self.call()
    self.wait()
    return (time.perf_counter() - start) / num_calls
