"""The recall of runs over their steps and seeds, from their metrics files."""

from collections import defaultdict
from collections.abc import Sequence
import dataclasses
import pathlib
import statistics

from benchmarks.runs import metrics_lines, Run


@dataclasses.dataclass(frozen=True)
class Point:
  """A metric after `step` steps over the seeds; the deviation is the sample's, 0 for one seed."""

  step: int
  mean: float
  deviation: float


def recall_curves(runs: Sequence[Run], runs_dir: pathlib.Path, metric: str) -> dict[str, dict[str, list[Point]]]:
  """Corpus -> method -> its points in order, from titles "corpus, method"; a title without a comma is all corpus.

  A step counts with the seeds that were evaluated after it; a run that has been evaluated never has no curve.
  """
  panels: dict[str, dict[str, list[Point]]] = defaultdict(dict)
  for run in runs:
    corpus, _, method = (part.strip() for part in run.title.partition(","))
    points = _points([run.workdir(runs_dir, seed) for seed in run.seeds], metric)
    if points:
      panels[corpus][method or corpus] = points
  return dict(panels)


def _points(workdirs: Sequence[pathlib.Path], metric: str) -> list[Point]:
  values = defaultdict(dict)  # the last line of a step counts: a run that went on evaluates it again
  for workdir in workdirs:
    for line in metrics_lines(workdir):
      if f"eval/{metric}" in line:
        values[line["step"]][workdir] = line[f"eval/{metric}"]
  return [
    Point(step, statistics.fmean(own.values()), statistics.stdev(own.values()) if len(own) > 1 else 0.0)
    for step, own in sorted(values.items())
  ]
