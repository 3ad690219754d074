"""A profiler trace of a few steps, for TensorBoard's profile page or XProf."""

import pathlib
import re

import jax


def parse_steps(text: str) -> range:
  """ "10:15" as steps 10 to 14, counted from 1, and "" as none; raises ValueError for anything else."""
  if not text:
    return range(0)
  match = re.fullmatch(r"(\d+):(\d+)", text)
  steps = range(int(match[1]), int(match[2])) if match else range(0)
  if not steps or steps.start < 1:
    raise ValueError(f"{text!r} is not FIRST:STOP, as 10:15 for steps 10 to 14")
  return steps


class StepTrace:
  """Writes one trace of `steps` under `folder`; a run that does not come by them writes none."""

  def __init__(self, steps: range, folder: pathlib.Path):
    self._steps = steps
    self._folder = folder
    self._running = False

  def __enter__(self) -> "StepTrace":
    return self

  def __exit__(self, *_) -> None:
    if self._running:
      self._stop()

  def before(self, step: int) -> None:
    """Starts the trace ahead of its first step."""
    if step in self._steps and not self._running:
      jax.profiler.start_trace(str(self._folder))
      self._running = True

  def after(self, step: int, outputs) -> None:
    """Waits for the last step's `outputs`, and ends the trace."""
    if self._running and step + 1 >= self._steps.stop:
      jax.block_until_ready(outputs)
      self._stop()

  def _stop(self) -> None:
    jax.profiler.stop_trace()
    self._running = False
