"""Writes the reports of a run: metrics.jsonl, pictures, TensorBoard events; and sends them to a tracker."""

from collections.abc import Iterable, Mapping
import json
import os
import pathlib
import sys

import ml_collections
from PIL import Image
import tensorboardX
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import hparams

from composeret_jax.distributed import is_first
from composeret_jax.evaluation.evaluator import Evaluation
from composeret_jax.evaluation.report import results_picture
from composeret_jax.training.config.same_run import config_to_json, flatten, MADE_WITH
from composeret_jax.training.reports.environment import environment
from composeret_jax.training.reports.trackers import open_tracking
from composeret_jax.training.workdir.mirror import Mirror
from data_pipelines.buckets.addresses import AnyPath
from data_pipelines.dataset import Dataset
from data_pipelines.files import naming, open_whole, write_whole
from data_pipelines.paths import absolute
from data_pipelines.untrusted_json import parse_json


class Reporter:
  """Writes one run's metrics under `workdir`. Names are the same everywhere; recalls are fractions in files.

  The metrics of a workdir in a bucket are written to a local folder, from which each report is copied.
  """

  def __init__(self, workdir: AnyPath, config: ml_collections.ConfigDict, first_step: int, heading: str = ""):
    """Goes on after `first_step`: what an interrupted run reported beyond it is removed, and will come again."""
    self._mirror = Mirror(workdir)
    self._folder = self._mirror.folder
    self._metrics_file = self._mirror.fetch("metrics.jsonl")
    _keep_until(self._metrics_file, first_step)
    self._events = tensorboardX.SummaryWriter(str(self._folder / "tensorboard"), purge_step=first_step + 1)
    self._describe(config, first_step, heading)
    write_config(self._folder, config)
    self._mirror.copy()
    self._tracking = open_tracking(config, absolute(workdir).name, self._folder, first_step)

  def _describe(self, config: ml_collections.ConfigDict, step: int, heading: str) -> None:
    """Texts and hyper-parameters for TensorBoard."""
    self._events.add_text("run", f"```\n{heading}\n```", step)
    self._events.add_text("config", f"```json\n{config.to_json(indent=2)}\n```", step)
    fields = {name: str(value) if isinstance(value, tuple) else value for name, value in flatten(config)}
    for summary in hparams(fields, {f"eval/{config.best_metric}": None}):
      self._events.file_writer.add_summary(summary, step)

  def __enter__(self) -> "Reporter":
    return self

  def __exit__(self, *_) -> None:
    self._events.close()
    self._tracking.close()
    self._mirror.close()

  def scalars(self, step: int, values: Mapping[str, float], split: str = "", texts: str = "") -> None:
    """Adds one line to metrics.jsonl, with split and texts that were measured, and each value to the others."""
    line = {"step": step} | ({"split": split, "texts": texts} if split else {}) | dict(values)
    with naming(self._metrics_file), self._metrics_file.open("a") as file:
      file.write(json.dumps(line) + "\n")
      file.flush()
      os.fsync(file.fileno())
    # Not by add_scalar, which would write R@1 as R_1.
    scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
    with naming(self._metrics_file.parent):
      self._events.file_writer.add_summary(Summary(value=scalars), step)
      self._events.flush()
    self._mirror.copy()
    self._tracking.scalars(step, values)

  def evaluations(self, step: int, measured: Iterable[tuple[Evaluation, Dataset]]) -> None:
    """Reports metrics, and a picture of results as a file and in TensorBoard.

    The test split is under `eval/` and results.png, another split under its own name.
    """
    for evaluation, dataset in measured:
      split = dataset.gallery_split
      prefix, file_prefix = ("eval", "") if split == "test" else (split, f"{split}_")
      self.scalars(
        step, {f"{prefix}/{name}": value for name, value in evaluation.metrics.items()}, split, dataset.text_names
      )
      picture = results_picture(dataset, evaluation.ranks)
      results = self._folder / f"{file_prefix}results.png"
      with open_whole(results) as file:
        Image.fromarray(picture).save(file, "PNG")
      self._tracking.picture(step, f"{prefix}/results", results)
      self._events.add_image(f"{prefix}/results", picture, step, dataformats="HWC")
    self._events.flush()
    self._mirror.copy()


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


def open_reporter(
  workdir: AnyPath, config: ml_collections.ConfigDict, first_step: int, heading: str
) -> Reporter | NoReporter:
  """The reporter of this process; `heading` describes the run."""
  return Reporter(workdir, config, first_step, heading) if is_first() else NoReporter()


def write_config(workdir: AnyPath, config: ml_collections.ConfigDict) -> None:
  """Writes config.json: the configuration, and beside it the commit and the packages that the run is made with."""
  fields = config_to_json(config) | {MADE_WITH: environment()._asdict()}
  write_whole(workdir / "config.json", json.dumps(fields, indent=2, sort_keys=True) + "\n")


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
