"""Which of a workdir's checkpoints `--checkpoint_step` names."""

from composeret_jax.training.checkpoints import Checkpoints
from data_pipelines.input_error import InputError

BEST = "best"


def chosen_step(checkpoints: Checkpoints, choice: str, name: str = "--checkpoint_step") -> int:
  """The step of the best checkpoint, or the one that `choice` says in digits.

  The best one has the highest `best_metric` of the run, and of equal ones it is the newest. Raises InputError,
  with the `name` of the flag or field, for another text, and where there is no such checkpoint.
  """
  steps = checkpoints.steps()
  if choice == BEST:
    return _best_step(checkpoints, steps, name)
  if not choice.isdecimal():
    raise InputError(f"{name}={choice}, expected {BEST} or the number of a step")
  if int(choice) not in steps:
    there = ", ".join(map(str, sorted(steps)))
    raise InputError(f"{name}={choice}: {checkpoints.folder} has checkpoints of the steps {there}")
  return int(choice)


def _best_step(checkpoints: Checkpoints, steps: list[int], name: str) -> int:
  metric = checkpoints.made_with(steps[0]).config.best_metric
  values = {step: checkpoints.metrics(step).get(metric) for step in steps}
  known = {step: value for step, value in values.items() if value is not None}
  if not known:
    raise InputError(
      f"{name}={BEST}: no checkpoint in {checkpoints.folder} has config.best_metric={metric}: all were "
      "saved between evaluations. Choose one by its step"
    )
  return max(known, key=lambda step: (known[step], step))
