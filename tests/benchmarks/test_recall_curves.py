"""Recall on the way, over seeds: by hand."""

import json

from PIL import Image
import pytest

from benchmarks.recall_curves import Point, recall_curves
from benchmarks.runs import Run


def write_metrics(workdir, recalls):
  workdir.mkdir(parents=True)
  lines = [{"step": step, "eval/R@1": recall} for step, recall in recalls]
  (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [{"step": 1, "loss": 1}, *lines]))


@pytest.fixture
def runs(tmp_path):
  ours, theirs = Run("emoji, rotor", ("a",), (0, 1)), Run("emoji, TIRG", ("b",), (0,))
  write_metrics(ours.workdir(tmp_path, 0), [(10, 0.9), (10, 0.2), (20, 0.5)])  # went on from a checkpoint before 10
  write_metrics(ours.workdir(tmp_path, 1), [(10, 0.4)])
  write_metrics(theirs.workdir(tmp_path, 0), [(10, 0.1)])
  return [ours, theirs, Run("icons, rotor", ("c",), (0,))]


def test_points_are_means_and_deviations_of_the_seeds_there_are(runs, tmp_path):
  panels = recall_curves(runs, tmp_path, "R@1")
  assert panels.keys() == {"emoji"}
  first, second = panels["emoji"]["rotor"]
  assert (first.step, first.mean, first.deviation) == (10, pytest.approx(0.3), pytest.approx(0.02**0.5))
  assert second == Point(20, 0.5, 0.0)
  assert panels["emoji"]["TIRG"] == [Point(10, 0.1, 0.0)]


def test_the_picture_is_written(runs, tmp_path):
  pytest.importorskip("matplotlib")
  from benchmarks import recall_plot

  path = tmp_path / "plots" / "recall.png"
  recall_plot.draw(recall_curves(runs, tmp_path, "R@1"), "R@1", path)
  with Image.open(path) as picture:
    assert picture.width > 400 and len(picture.convert("RGB").getcolors(1 << 20)) > 10
