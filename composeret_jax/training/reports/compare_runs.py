"""Compares runs by what they wrote: a table on the terminal, and a picture of loss and recall over the steps."""

from collections.abc import Mapping, Sequence
import dataclasses
import importlib
import pathlib
from typing import Any

from composeret_jax.training.config.same_run import config_from_json, flatten
from data_pipelines.buckets.addresses import AnyPath
from data_pipelines.files import open_whole
from data_pipelines.input_error import InputError
from data_pipelines.paths import absolute
from data_pipelines.untrusted_json import parse_json, read_json_object

LOSS = "train/total"

# They differ between runs and say nothing of what is trained.
PLACES = ("data.dir", "data.prepared_dir", "data.compilation_cache")

MAX_FIELDS = 12  # of those that differ, on the terminal


@dataclasses.dataclass(frozen=True)
class FinishedRun:
  """The configuration of a workdir by field name, and (step, value) pairs of each metric."""

  name: str
  fields: Mapping[str, Any]
  metrics: Mapping[str, Sequence[tuple[int, float]]]

  @property
  def chosen_metric(self) -> str:
    """The name, in metrics.jsonl, of the metric that chose the best checkpoint."""
    by_validation = f"validation/{self.fields['best_metric']}"
    return by_validation if by_validation in self.metrics else f"eval/{self.fields['best_metric']}"


def read_runs(workdirs: Sequence[AnyPath]) -> list[FinishedRun]:
  """Reads what the runs wrote; raises InputError for a folder without config.json and metrics.jsonl."""
  names = _short_names(workdirs)
  return [_read_run(workdir, name) for workdir, name in zip(workdirs, names, strict=True)]


def table(runs: Sequence[FinishedRun]) -> str:
  """A line for each run: steps, last loss, last recalls, best value of its own metric; below, what differs."""
  recalls = sorted(
    {name for run in runs for name in run.metrics if name.startswith(("eval/R@", "eval/mAP@", "eval/headline"))},
    key=lambda name: (name.partition("@")[0], int(name.partition("@")[2] or 0)),
  )
  rows = [["run", "steps", "loss", *(name.removeprefix("eval/") for name in recalls), "best"]]
  for run in runs:
    steps = max((step for points in run.metrics.values() for step, _ in points), default=0)
    cells = [_last(run, LOSS, "{:.4f}"), *(_last(run, name, "{:.1%}") for name in recalls)]
    rows.append([run.name, f"{steps:,}", *cells, _best(run)])
  widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
  lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
  return "\n".join([*lines, *_differences(runs)])


def plot(runs: Sequence[FinishedRun], file: pathlib.Path) -> None:
  """Draws loss and recall over the steps, a line for each run, as a PNG; raises InputError without matplotlib."""
  try:
    figures = importlib.import_module("matplotlib.figure")
  except ImportError as error:
    raise InputError(f"--plot needs matplotlib: pip install 'composeret-jax[plot]' ({error})") from error
  figure = figures.Figure(figsize=(11, 4.2), layout="constrained")
  for axes, title, named in zip(
    figure.subplots(1, 2),
    ("training loss", "recall that chose the best checkpoint"),
    (lambda run: LOSS, lambda run: run.chosen_metric),
    strict=True,
  ):
    for run in runs:
      points = run.metrics.get(named(run), ())
      axes.plot(
        *zip(*points, strict=True) if points else ([], []), marker="." if len(points) < 30 else "", label=run.name
      )
    axes.set(title=title, xlabel="step")
    axes.grid(alpha=0.3)
  figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
  with open_whole(file) as stream:
    figure.savefig(stream, format="png", dpi=120)


def _read_run(workdir: AnyPath, name: str) -> FinishedRun:
  for file in ("config.json", "metrics.jsonl"):
    if not (workdir / file).is_file():
      raise InputError(f"{workdir} is no workdir of a run that has started: it has no {file}")
  fields = dict(flatten(config_from_json(read_json_object(workdir / "config.json"))))
  metrics: dict[str, list[tuple[int, float]]] = {}
  # What follows the last end of a line is being written.
  for number, line in enumerate((workdir / "metrics.jsonl").read_bytes().split(b"\n")[:-1], start=1):
    try:
      values = parse_json(line)
      step = values.pop("step")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
      raise InputError(f"{workdir / 'metrics.jsonl'}, line {number} is damaged: {error}") from error
    for metric, value in values.items():
      if isinstance(value, int | float):
        metrics.setdefault(metric, []).append((step, value))
  return FinishedRun(name, fields, metrics)


def _short_names(workdirs: Sequence[AnyPath]) -> list[str]:
  """The last parts of the paths, as many as tell them apart."""
  parts = [absolute(workdir).parts for workdir in workdirs]
  for count in range(1, max(map(len, parts)) + 1):
    names = ["/".join(own[-count:]) for own in parts]
    if len(set(names)) == len(names):
      return names
  raise InputError("a workdir is named twice")


def _last(run: FinishedRun, metric: str, form: str) -> str:
  points = run.metrics.get(metric)
  return form.format(points[-1][1]) if points else "-"


def _best(run: FinishedRun) -> str:
  points = run.metrics.get(run.chosen_metric)
  if not points:
    return "-"
  step, value = max(points, key=lambda point: point[1])
  return f"{run.chosen_metric} {value:.1%} at {step:,}"


def _differences(runs: Sequence[FinishedRun]) -> list[str]:
  """The fields in which the runs differ, with each run's value."""
  names = sorted({name for run in runs for name in run.fields} - set(PLACES))
  differing = [name for name in names if len({repr(run.fields.get(name)) for run in runs}) > 1]
  lines = [f"  {name}: {' | '.join(str(run.fields.get(name, '-')) for run in runs)}" for name in differing[:MAX_FIELDS]]
  if len(differing) > MAX_FIELDS:
    lines.append(f"  and {len(differing) - MAX_FIELDS:,} more")
  return ["", "They differ in:", *lines] if lines else []
