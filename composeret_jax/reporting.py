"""What a run reports: TensorBoard events, metrics.jsonl, pictures, and tables and a progress bar on the terminal."""

from collections.abc import Iterator, Mapping
import json
import math
import pathlib
import sys

import ml_collections
from PIL import Image
import tensorboardX
from tensorboardX.proto.summary_pb2 import Summary
import tqdm

from composeret_jax.evaluation import Evaluation, HALVES, RERANKED
from composeret_jax.picture import results_picture
from composeret_jax.processes import is_first
from data_pipelines.datasets import Dataset


class Reporter:
  """Writes one run's metrics under `workdir`. Names are the same everywhere; recalls are fractions in files."""

  def __init__(self, workdir: pathlib.Path, config: ml_collections.ConfigDict, first_step: int):
    """Goes on after `first_step`: what an interrupted run reported beyond it is removed, and will come again."""
    workdir.mkdir(parents=True, exist_ok=True)
    self._workdir = workdir
    self._metrics_file = workdir / "metrics.jsonl"
    _keep_until(self._metrics_file, first_step)
    self._events = tensorboardX.SummaryWriter(str(workdir / "tensorboard"), purge_step=first_step + 1)
    (workdir / "config.json").write_text(config.to_json(indent=2) + "\n")

  def __enter__(self) -> "Reporter":
    return self

  def __exit__(self, *_) -> None:
    self._events.close()

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Adds one line to metrics.jsonl, and each value to TensorBoard."""
    with self._metrics_file.open("a") as file:
      file.write(json.dumps({"step": step, **values}) + "\n")
    # Not by add_scalar, which would write R@1 as R_1.
    scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
    self._events.file_writer.add_summary(Summary(value=scalars), step)
    self._events.flush()

  def evaluation(self, step: int, evaluation: Evaluation, dataset: Dataset) -> None:
    """Reports the metrics under `eval/`, and a picture of results as results.png and in TensorBoard."""
    self.scalars(step, {f"eval/{name}": value for name, value in evaluation.metrics.items()})
    picture = results_picture(dataset, evaluation.ranks)
    Image.fromarray(picture).save(self._workdir / "results.png")
    self._events.add_image("eval/results", picture, step, dataformats="HWC")
    self._events.flush()


class NoReporter:
  """Takes what a Reporter takes, and writes nothing: for all processes of a job but the first."""

  def __enter__(self) -> "NoReporter":
    return self

  def __exit__(self, *_) -> None:
    pass

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Drops them."""

  def evaluation(self, step: int, evaluation: Evaluation, dataset: Dataset) -> None:
    """Drops it."""


def open_reporter(workdir: pathlib.Path, config: ml_collections.ConfigDict, first_step: int) -> Reporter | NoReporter:
  """The reporter of this process."""
  return Reporter(workdir, config, first_step) if is_first() else NoReporter()


def _keep_until(metrics_file: pathlib.Path, last_step: int) -> None:
  if not metrics_file.exists():
    return
  lines = metrics_file.read_text().splitlines(keepends=True)
  kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= last_step]
  metrics_file.write_text("".join(kept))


def progress_bar(first: int, total: int) -> tqdm.tqdm:
  """Steps done, rate and time left; seldom redrawn when nobody watches a terminal."""
  interval = 0.5 if sys.stderr.isatty() else 20
  return tqdm.tqdm(
    initial=first, total=total, desc="train", unit=" steps", mininterval=interval, disable=not is_first()
  )


def show_progress(bar: tqdm.tqdm, losses: Mapping[str, float], images_per_second: float) -> None:
  """Puts the total loss and the speed behind the bar."""
  bar.set_postfix(loss=f"{losses.get('total', math.nan):.4f}", images_per_s=f"{images_per_second:.0f}")


def show_evaluation(step: int, evaluation: Evaluation, dataset: Dataset) -> None:
  """Prints the table of recalls, and what was left out; the first process does."""
  if not is_first():
    return
  print(f"Step {step}: {len(dataset.queries):,} queries, {len(dataset.gallery):,} images, recall in percent")
  print(recall_table(evaluation.metrics))
  if any(dataset.num_left_out.values()):
    left_out = ", ".join(f"{name} {number:,}" for name, number in dataset.num_left_out.items())
    print(f"Left out, with images that are missing or cannot be decoded: {left_out}")
  sys.stdout.flush()


def recall_table(metrics: Mapping[str, float]) -> str:
  """In percent: a line for the composed query and for each part, then the same for each half of the query.

  Recalls, then average precisions where the protocol has them, then headlines.
  """
  lines = [line for measure in ("R", "mAP") for line in _lines(metrics, measure)]
  lines += [f"{_title(name):<22}{100 * metrics[name]:8.1f}" for name in metrics if name.endswith("headline")]
  return "\n".join(lines)


def _lines(metrics: Mapping[str, float], measure: str) -> Iterator[str]:
  """A heading with every K of `measure`, and the lines below it, with a gap where one has no such K."""
  found = [name.rpartition("/") for name in metrics if name.rpartition("/")[2].startswith(f"{measure}@")]
  columns = sorted({int(name.partition("@")[2]) for _, _, name in found})
  if columns:
    yield " " * 22 + "".join(f"{f'{measure}@{k}':>8}" for k in columns)
  for group in dict.fromkeys(group + slash for group, slash, _ in found):
    names = [f"{group}{measure}@{k}" for k in columns]
    cells = "".join(f"{100 * metrics[name]:8.1f}" if name in metrics else " " * 8 for name in names)
    yield f"{_title(group):<22}{cells}".rstrip()


def _title(group: str) -> str:
  """ "image_only/noun/" as "image only noun"; what no half found alone, and nobody reranked, is composed."""
  parts = group.rstrip("/").split("/")
  half = parts.pop(0) if parts[0] in (*HALVES, RERANKED) else "composed"
  return " ".join([half.replace("_", " "), *parts]).rstrip()
