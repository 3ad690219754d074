"""Recall against steps, a panel for each corpus, a line for each method, and the seeds' spread around it."""

from collections.abc import Mapping, Sequence
import pathlib

import matplotlib

from benchmarks.recall_curves import Point

matplotlib.use("agg")
from matplotlib import pyplot  # noqa: E402


def draw(panels: Mapping[str, Mapping[str, Sequence[Point]]], metric: str, path: pathlib.Path) -> None:
  """Writes a picture of `panels`: corpus -> method -> its curve. The band is a standard deviation to either side."""
  figure, axes = pyplot.subplots(1, len(panels), figsize=(4.5 * len(panels), 3.5), layout="constrained", squeeze=False)
  for axis, (corpus, curves) in zip(axes[0], panels.items(), strict=True):
    for method, points in curves.items():
      steps = [point.step for point in points]
      (line,) = axis.plot(steps, [100 * point.mean for point in points], marker="o", markersize=3, label=method)
      low, high = ([100 * (point.mean + sign * point.deviation) for point in points] for sign in (-1, 1))
      axis.fill_between(steps, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    axis.set(title=corpus, xlabel="steps", ylabel=f"{metric}, percent")
    axis.set_ylim(bottom=0)
    axis.legend()
  path.parent.mkdir(parents=True, exist_ok=True)
  figure.savefig(path, dpi=120)
  pyplot.close(figure)
