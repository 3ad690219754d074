"""Trains a list of configurations with several seeds each, and tabulates their final metrics: mean and deviation.

python -m benchmarks.reproduce --runs_dir=runs/table --table=docs/results --seeds=0,1 \
  --run='TIRG | configs/mit_states.py:tirg --config.loss=soft_triplet' --run='ComposeAE | configs/mit_states.py | 0,1,2'

A run is a title, the configuration with its overrides, and its seeds where they are not --seeds. Finished
runs are not trained again, interrupted ones go on. A long list fits in a file: --flagfile=FILE, with one --run=... a
line, without quotes.

--plot=FILE.png draws recall against steps as well, where runs are evaluated on their way (config.eval_every_steps): a
panel for each corpus and a line for each method, from titles "corpus, method".
"""

from collections.abc import Mapping, Sequence
import csv
import dataclasses
import pathlib
import shlex
import statistics
import sys

from absl import app, flags

from benchmarks.recall_curves import recall_curves
from benchmarks.runs import parse_run, Run, train


@dataclasses.dataclass(frozen=True)
class Row:
  """A run's results: for each metric its value with every seed that finished."""

  run: Run
  results: Sequence[Mapping[str, float]]

  def mean_and_deviation(self, metric: str) -> tuple[float | None, float | None]:
    """Over the seeds; the deviation is the sample's, None for fewer than two seeds."""
    values = [result[metric] for result in self.results if metric in result]
    mean = statistics.fmean(values) if values else None
    return mean, statistics.stdev(values) if len(values) > 1 else None


def write_tables(rows: Sequence[Row], table: pathlib.Path) -> None:
  """Writes `table`.md, in percent, and `table`.csv, in fractions, one line for each run and metric."""
  table.parent.mkdir(parents=True, exist_ok=True)
  metrics = list(dict.fromkeys(metric for row in rows for result in row.results for metric in result))
  pathlib.Path(f"{table}.md").write_text(_markdown(rows, metrics), encoding="utf-8")
  with pathlib.Path(f"{table}.csv").open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["run", "arguments", "seeds", "metric", "mean", "standard_deviation"])
    for row in rows:
      for metric in metrics:
        mean, deviation = row.mean_and_deviation(metric)
        if mean is not None:
          writer.writerow([row.run.title, shlex.join(row.run.arguments), len(row.results), metric, mean, deviation])


def _markdown(rows: Sequence[Row], metrics: Sequence[str]) -> str:
  header = ["run", "seeds", *metrics]
  lines = [header, ["---"] * len(header)]
  for row in rows:
    count = f"{len(row.results)} of {len(row.run.seeds)}"
    lines.append([row.run.title, count, *(_cell(*row.mean_and_deviation(metric)) for metric in metrics)])
  table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
  commands = "\n".join(f"- {row.run.title}: `python launch.py {shlex.join(row.run.arguments)}`" for row in rows)
  return f"{table}\n\nPercent; mean ± standard deviation over the seeds that finished.\n\n{commands}\n"


def _cell(mean: float | None, deviation: float | None) -> str:
  if mean is None:
    return ""
  return f"{100 * mean:.1f}" if deviation is None else f"{100 * mean:.1f} ± {100 * deviation:.1f}"


def main(_) -> None:
  """Trains what is missing and writes the tables and the picture; ends with status 1 when a run failed."""
  try:
    runs = [parse_run(text, flags.FLAGS.seeds) for text in flags.FLAGS.run]
  except ValueError as error:
    sys.exit(f"error: {error}")
  if flags.FLAGS.plot:
    try:
      from benchmarks import recall_plot  # matplotlib is not for those who want the table alone
    except ImportError:
      sys.exit("error: --plot needs matplotlib: pip install matplotlib")
  runs_dir, rows = pathlib.Path(flags.FLAGS.runs_dir), []
  for run in runs:
    results = [train(run, seed, run.workdir(runs_dir, seed)) for seed in run.seeds]
    rows.append(Row(run, [result for result in results if result is not None]))
    write_tables(rows, pathlib.Path(flags.FLAGS.table))
  curves = recall_curves(runs, runs_dir, flags.FLAGS.metric)
  if flags.FLAGS.plot and curves:
    recall_plot.draw(curves, flags.FLAGS.metric, pathlib.Path(flags.FLAGS.plot))
  if any(len(row.results) < len(row.run.seeds) for row in rows):
    sys.exit(1)


def define_flags() -> None:
  """Defines the flags only where this is the program: another benchmark may have flags of the same names."""
  flags.DEFINE_multi_string("run", None, "TITLE | CONFIG [OVERRIDES] [| SEEDS], once for each row of the table.")
  flags.DEFINE_list("seeds", ["0"], "Seeds of the runs that do not name their own.")
  flags.DEFINE_string("runs_dir", None, "Where the runs' workdirs are.")
  flags.DEFINE_string("table", None, "The tables to write, without .md and .csv.")
  flags.DEFINE_string("plot", None, "The picture to write, a .png; needs matplotlib.")
  flags.DEFINE_string("metric", "R@1", "What the picture shows.")


if __name__ == "__main__":
  define_flags()
  flags.mark_flags_as_required(["run", "runs_dir", "table"])
  app.run(main)
