"""What a run measures: the validation split where it has one, the test split at the end, or always without it."""

from collections.abc import Sequence
from typing import NamedTuple

from composeret_jax.evaluation.evaluator import Evaluation
from composeret_jax.evaluation.report import show_evaluation
from composeret_jax.models.variables import Variables
from composeret_jax.training.run import Run
from data_pipelines.dataset import Dataset


class Measured(NamedTuple):
  """An evaluation, and the split that it is of."""

  evaluation: Evaluation
  dataset: Dataset


def measure(run: Run, variables: Variables, *, at_end: bool) -> list[Measured]:
  """First that by whose metrics checkpoints are compared: the validation split's, or without one the test split's.

  Where there is a validation split the test split is evaluated `at_end` alone: nothing can be chosen by it.
  """
  measured = []
  if run.validator and run.dataset.validation:
    measured.append(Measured(run.validator(variables), run.dataset.validation))
  if at_end or not measured:
    measured.append(Measured(run.evaluator(variables), run.dataset))
  return measured


def show_measured(step: int, measured: Sequence[Measured]) -> None:
  """Prints a table for each split."""
  for evaluation, dataset in measured:
    show_evaluation(step, evaluation, dataset)
