"""Watches that the losses of a run stay finite."""

from collections.abc import Callable, Mapping
import math
import sys

import jax
import numpy as np

from composeret_jax.distributed import is_first
from composeret_jax.evaluation.retrieval import NonFiniteError

ON_NONFINITE = ("stop", "skip")


class FiniteWatch:
  """Looks at every step's losses one step late, so that the devices always have the next step to work on.

  Reports the steps that skip themselves (train_step/step.py): their losses hold `num_skipped_in_a_row`.
  """

  def __init__(self, describe_last_good: Callable[[], str], max_skipped_in_a_row: int):
    """`describe_last_good` says where to go on from when a run stops."""
    self._describe_last_good = describe_last_good
    self._max_skipped_in_a_row = max_skipped_in_a_row
    self._pending: tuple[int, Mapping[str, jax.Array]] | None = None
    self._checked: dict[str, float] = {}

  def take(self, step: int, losses: Mapping[str, jax.Array]) -> None:
    """Takes the losses of step `step`, or of the steps up to it, and checks those that came before."""
    self.check()
    self._pending = (step, losses)

  def check(self) -> dict[str, float]:
    """Waits for the losses that were taken last, and returns the last step's, those that are finite.

    Raises NonFiniteError when one is not finite and its step was not skipped, or so many before it were as are allowed.
    """
    if self._pending:
      last_step, losses = self._pending
      self._pending = None
      by_step = {name: np.atleast_1d(values) for name, values in jax.device_get(dict(losses)).items()}
      num_steps = len(next(iter(by_step.values())))
      for i in range(num_steps):
        self._checked = {name: float(values[i]) for name, values in by_step.items()}
        self._judge(last_step - num_steps + 1 + i)
    return {name: value for name, value in self._checked.items() if math.isfinite(value)}

  def _judge(self, step: int) -> None:
    in_a_row = int(self._checked.get("num_skipped_in_a_row", 0))
    if not in_a_row and all(map(math.isfinite, self._checked.values())):
      return
    values = ", ".join(f"{name} {value}" for name, value in self._checked.items() if "skipped" not in name)
    found = f"step {step}: not finite ({values})"
    if not in_a_row:
      raise NonFiniteError(f"{found}; {self._describe_last_good()}")
    if in_a_row >= self._max_skipped_in_a_row:
      raise NonFiniteError(f"{found}, as the {in_a_row - 1} steps before it; {self._describe_last_good()}")
    if is_first():
      print(f"{found}; skipped, {int(self._checked['num_skipped'])} until now", file=sys.stderr)
