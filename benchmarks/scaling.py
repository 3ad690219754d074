"""Trains a sweep of batch sizes and learning rates, and tabulates and draws recall and speed against the batch size.

python -m benchmarks.scaling --sweep=configs/sweeps/large_batch.py --runs_dir=runs/large_batch --output=docs/large_batch

A sweep is a Python file whose get_sweep(config) lists each run's title and the fields that it changes in --config,
batch_size, learning_rate and num_train_steps among them. A run that fails is reported and the others go on. The same
command again trains only what is missing, and goes on where a run was interrupted.
"""

from collections.abc import Sequence
import csv
import dataclasses
import pathlib
import runpy
import statistics
import sys
from typing import Any

from absl import app, flags
import matplotlib
import ml_collections

from benchmarks.runs import metrics_lines, Run, train

matplotlib.use("agg")
from matplotlib import pyplot  # noqa: E402

ROOT = pathlib.Path(__file__).parent.parent
SPEEDS = ("steps_per_second", "images_per_second")


@dataclasses.dataclass(frozen=True)
class Result:
  """The results of one run of the sweep: its recall and its median speeds, None where it failed."""

  title: str
  fields: dict[str, Any]
  recall: float | None
  speeds: dict[str, float | None]


def run_sweep(sweep: pathlib.Path, config: str, runs_dir: pathlib.Path) -> tuple[str, list[Result]]:
  """Trains what is missing; returns the name of the recall, which is the configuration's `best_metric`, and results."""
  defaults = load_config(config)
  metric, results = defaults.best_metric, []
  for title, fields in runpy.run_path(str(sweep))["get_sweep"](defaults):
    arguments = (f"--config={config}", *(f"--config.{name}={value}" for name, value in fields.items()))
    run = Run(title, arguments, (defaults.seed,))
    workdir = run.workdir(runs_dir, defaults.seed)
    metrics = train(run, defaults.seed, workdir)
    recall = metrics[metric] if metrics else None
    speeds = {name: median_speed(workdir, name) if metrics else None for name in SPEEDS}
    results.append(Result(title, fields, recall, speeds))
  return metric, results


def load_config(text: str) -> ml_collections.ConfigDict:
  """The configuration of FILE or FILE:MODEL."""
  path, _, model = text.partition(":")
  get_config = runpy.run_path(path)["get_config"]
  return get_config(model) if model else get_config()


def median_speed(workdir: pathlib.Path, name: str) -> float | None:
  """Over the run's reports; None when there are none."""
  values = [line[f"speed/{name}"] for line in metrics_lines(workdir) if f"speed/{name}" in line]
  return statistics.median(values) if values else None


def write_tables(metric: str, results: Sequence[Result], output: pathlib.Path) -> None:
  """Writes `output`.md, recall in percent, and `output`.csv, recall as a fraction."""
  header = ["run", "batch_size", "learning_rate", "num_train_steps", metric, *SPEEDS]
  rows = [
    [result.title, *(result.fields[name] for name in header[1:4]), result.recall, *result.speeds.values()]
    for result in results
  ]
  output.parent.mkdir(parents=True, exist_ok=True)
  with pathlib.Path(f"{output}.csv").open("w", newline="") as file:
    csv.writer(file).writerows([header, *rows])
  cells = [[*row[:4], _cell(row[4], 100), _cell(row[5]), _cell(row[6])] for row in rows]
  lines = [header, ["---"] * len(header), *cells]
  table = "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
  pathlib.Path(f"{output}.md").write_text(f"{table}\n\nRecall in percent; speeds are medians.\n")


def _cell(value: float | None, factor: float = 1) -> str:
  return "failed" if value is None else f"{factor * value:,.1f}"


def draw(metric: str, results: Sequence[Result], path: pathlib.Path) -> None:
  """Recall and speeds against the batch size: every run, and a line through the best of each size."""
  finished = [result for result in results if result.recall is not None]
  panels = {f"{metric}, percent": [100 * result.recall for result in finished]}
  panels |= {name.replace("_", " "): [result.speeds[name] for result in finished] for name in SPEEDS}
  sizes = [result.fields["batch_size"] for result in finished]
  figure, axes = pyplot.subplots(1, len(panels), figsize=(4 * len(panels), 3.5), layout="constrained")
  for axis, (title, values) in zip(axes, panels.items(), strict=True):
    best = {size: max(v for s, v in zip(sizes, values, strict=True) if s == size) for size in sorted(set(sizes))}
    axis.plot(best.keys(), best.values())
    axis.scatter(sizes, values)
    axis.set_xscale("log", base=2)
    axis.set_ylim(bottom=0)
    axis.set(title=title, xlabel="batch size")
  figure.savefig(path, dpi=120)
  pyplot.close(figure)


def define_flags() -> None:
  """The command line of this script."""
  flags.DEFINE_string("sweep", None, "Python file with get_sweep(config).")
  flags.DEFINE_string("config", str(ROOT / "configs/shapes.py"), "What the runs change: FILE or FILE:MODEL.")
  flags.DEFINE_string("runs_dir", None, "Where the runs' workdirs are.")
  flags.DEFINE_string("output", None, "The table and plot to write, without .md, .csv and .png.")


def main(_) -> None:
  """Trains what is missing and writes table and plot; ends with status 1 when a run failed."""
  output = pathlib.Path(flags.FLAGS.output)
  metric, results = run_sweep(pathlib.Path(flags.FLAGS.sweep), flags.FLAGS.config, pathlib.Path(flags.FLAGS.runs_dir))
  write_tables(metric, results, output)
  draw(metric, results, pathlib.Path(f"{output}.png"))
  print(pathlib.Path(f"{output}.md").read_text())
  if any(result.recall is None for result in results):
    sys.exit(1)


if __name__ == "__main__":
  define_flags()
  flags.mark_flags_as_required(["sweep", "runs_dir", "output"])
  app.run(main)
