"""Stops a run whose losses are no numbers any more."""

from collections.abc import Callable, Mapping
import math

import jax
import numpy as np


class NonFiniteLossError(RuntimeError):
  """A loss is NaN or infinite. The message names the step, the losses and the last good checkpoint."""


class FiniteWatch:
  """Looks at every step's losses one step late, so that the devices always have the next step to work on."""

  def __init__(self, describe_last_good: Callable[[], str]):
    """`describe_last_good` says where to go on from when a loss is not finite."""
    self._describe_last_good = describe_last_good
    self._pending: tuple[int, Mapping[str, jax.Array]] | None = None
    self._checked: dict[str, float] = {}

  def take(self, step: int, losses: Mapping[str, jax.Array]) -> None:
    """Takes the losses of step `step`, or of the steps up to it, and checks those that came before."""
    self.check()
    self._pending = (step, losses)

  def check(self) -> dict[str, float]:
    """Waits for the losses that were taken last, and returns the last step's.

    Raises NonFiniteLossError when one is not finite.
    """
    if self._pending:
      last_step, losses = self._pending
      self._pending = None
      by_step = {name: np.atleast_1d(values) for name, values in jax.device_get(dict(losses)).items()}
      num_steps = len(next(iter(by_step.values())))
      for i in range(num_steps):
        self._checked = {name: float(values[i]) for name, values in by_step.items()}
        self._stop_unless_finite(last_step - num_steps + 1 + i)
    return self._checked

  def _stop_unless_finite(self, step: int) -> None:
    if not all(map(math.isfinite, self._checked.values())):
      values = ", ".join(f"{name} {value}" for name, value in self._checked.items())
      raise NonFiniteLossError(f"step {step}: not finite ({values}); {self._describe_last_good()}")
