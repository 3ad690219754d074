"""What a run reports: TensorBoard events, metrics.jsonl, pictures, and tables and a progress bar on the terminal."""

from collections.abc import Callable, Iterable, Mapping
import json
import math
import os
import pathlib
import sys

import jax
import ml_collections
import numpy as np
from PIL import Image
import tensorboardX
from tensorboardX.proto.summary_pb2 import Summary
import tqdm

from composeret_jax.distributed import is_first
from composeret_jax.evaluation.evaluator import Evaluation
from composeret_jax.evaluation.report import results_picture
from composeret_jax.evaluation.retrieval import NonFiniteError
from data_pipelines.dataset import Dataset
from data_pipelines.files import open_whole, write_whole
from data_pipelines.untrusted_json import parse_json


class Reporter:
  """Writes one run's metrics under `workdir`. Names are the same everywhere; recalls are fractions in files."""

  def __init__(self, workdir: pathlib.Path, config: ml_collections.ConfigDict, first_step: int):
    """Goes on after `first_step`: what an interrupted run reported beyond it is removed, and will come again."""
    workdir.mkdir(parents=True, exist_ok=True)
    self._workdir = workdir
    self._metrics_file = workdir / "metrics.jsonl"
    _keep_until(self._metrics_file, first_step)
    self._events = tensorboardX.SummaryWriter(str(workdir / "tensorboard"), purge_step=first_step + 1)
    write_whole(workdir / "config.json", config.to_json(indent=2) + "\n")

  def __enter__(self) -> "Reporter":
    return self

  def __exit__(self, *_) -> None:
    self._events.close()

  def scalars(self, step: int, values: Mapping[str, float], split: str = "", texts: str = "") -> None:
    """Adds one line to metrics.jsonl, with split and texts that were measured, and each value to TensorBoard."""
    line = {"step": step} | ({"split": split, "texts": texts} if split else {}) | dict(values)
    with self._metrics_file.open("a") as file:
      file.write(json.dumps(line) + "\n")
      file.flush()
      os.fsync(file.fileno())
    # Not by add_scalar, which would write R@1 as R_1.
    scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
    self._events.file_writer.add_summary(Summary(value=scalars), step)
    self._events.flush()

  def evaluations(self, step: int, measured: Iterable[tuple[Evaluation, Dataset]]) -> None:
    """Reports metrics, and a picture of results as a file and in TensorBoard.

    Those of the test split are under `eval/` and results.png, those of another split under its name.
    """
    for evaluation, dataset in measured:
      split = dataset.gallery_split
      prefix, file_prefix = ("eval", "") if split == "test" else (split, f"{split}_")
      self.scalars(
        step, {f"{prefix}/{name}": value for name, value in evaluation.metrics.items()}, split, dataset.text_names
      )
      picture = results_picture(dataset, evaluation.ranks)
      with open_whole(self._workdir / f"{file_prefix}results.png") as file:
        Image.fromarray(picture).save(file, "PNG")
      self._events.add_image(f"{prefix}/results", picture, step, dataformats="HWC")
    self._events.flush()


class NoReporter:
  """Takes what a Reporter takes, and writes nothing: for all processes of a job but the first."""

  def __enter__(self) -> "NoReporter":
    return self

  def __exit__(self, *_) -> None:
    pass

  def scalars(self, step: int, values: Mapping[str, float], split: str = "", texts: str = "") -> None:
    """Drops them."""

  def evaluations(self, step: int, measured: Iterable[tuple[Evaluation, Dataset]]) -> None:
    """Drops them."""


def open_reporter(workdir: pathlib.Path, config: ml_collections.ConfigDict, first_step: int) -> Reporter | NoReporter:
  """The reporter of this process."""
  return Reporter(workdir, config, first_step) if is_first() else NoReporter()


def _keep_until(metrics_file: pathlib.Path, last_step: int) -> None:
  """Removes lines of later steps, and the last one when it has no end; sets aside those that cannot be read."""
  if not metrics_file.exists():
    return
  kept, unreadable = [], []
  for number, line in enumerate(metrics_file.read_bytes().split(b"\n")[:-1], start=1):
    text = line.strip(b"\0")
    try:
      step = parse_json(text)["step"]
    except (ValueError, TypeError, KeyError):
      step = None
    if type(step) is not int:
      unreadable.append((number, line))
    elif step <= last_step:
      kept.append(text + b"\n")
  if unreadable:
    aside = metrics_file.with_name(f"unreadable_{metrics_file.name}")
    with aside.open("ab") as file:
      file.write(b"".join(line + b"\n" for _, line in unreadable))
    numbers = ", ".join(str(number) for number, _ in unreadable[:5]) + (", ..." if unreadable[5:] else "")
    print(f"{metrics_file}: {len(unreadable):,} lines are damaged, moved to {aside} (lines {numbers})", file=sys.stderr)
  write_whole(metrics_file, b"".join(kept))


def say(message: str) -> None:
  """Prints a message beside the results, to stderr; the first process does."""
  if is_first():
    print(message, file=sys.stderr)


def progress_bar(first: int, total: int) -> tqdm.tqdm:
  """Steps done, rate and time left; seldom redrawn when nobody watches a terminal."""
  interval = 0.5 if sys.stderr.isatty() else 20
  return tqdm.tqdm(
    initial=first, total=total, desc="train", unit=" steps", mininterval=interval, disable=not is_first()
  )


def show_progress(bar: tqdm.tqdm, losses: Mapping[str, float], images_per_second: float) -> None:
  """Puts the total loss and the speed behind the bar."""
  bar.set_postfix(loss=f"{losses.get('total', math.nan):.4f}", images_per_s=f"{images_per_second:.0f}")


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
