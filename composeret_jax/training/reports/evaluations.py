"""Measures a run: the validation split where it has one, the test split at the end, or always without it."""

from collections.abc import Sequence
import json
from typing import NamedTuple

from composeret_jax.distributed import is_first
from composeret_jax.evaluation.evaluator import Evaluation
from composeret_jax.evaluation.report import show_evaluation
from composeret_jax.models.variables import Variables
from composeret_jax.training.config.same_run import MADE_WITH
from composeret_jax.training.reports.environment import environment
from composeret_jax.training.reports.terminal import say
from composeret_jax.training.run import Run
from data_pipelines.dataset import Dataset
from data_pipelines.files import write_whole


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


def write_measured(run: Run, step: int, measured: Sequence[Measured]) -> None:
  """Writes eval.json to the workdir: the metrics of each split, and what they were measured with.

  A workdir that cannot be written keeps its old one, and a message says so.
  """
  splits = {
    dataset.gallery_split: {
      "texts": dataset.text_names,
      "num_queries": len(dataset.queries),
      "num_gallery": len(dataset.gallery),
      "metrics": dict(evaluation.metrics),
    }
    for evaluation, dataset in measured
  }
  found = {"step": step, "dataset": run.config.data.dataset, "splits": splits, MADE_WITH: environment()._asdict()}
  if is_first():
    file = run.workdir / "eval.json"
    try:
      write_whole(file, json.dumps(found, indent=2) + "\n")
    except OSError as error:
      say(f"{file} is not written: {error.strerror}")
