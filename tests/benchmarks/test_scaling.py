"""A sweep over a program that stands for launch.py."""

import csv
import json
import pathlib

from PIL import Image
import pytest

pytest.importorskip("matplotlib")

from benchmarks import runs, scaling
from configs import shapes
from configs.sweeps import large_batch

ROOT = pathlib.Path(scaling.__file__).parent.parent
CONFIG = str(ROOT / "configs/shapes.py")
SWEEP = ROOT / "configs/sweeps/large_batch.py"

# Fails at batch 128; else writes what a run writes, and its recall tells the learning rate.
FAKE_LAUNCH = """
import json, pathlib, sys
flags = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[1:])
workdir, steps = pathlib.Path(flags["workdir"]), int(flags["config.num_train_steps"])
with (workdir / "calls").open("a") as file:
  file.write("called\\n")
if flags["config.batch_size"] == "128":
  sys.exit("out of memory")
(workdir / "config.json").write_text(json.dumps({"num_train_steps": steps}))
lines = [{"step": 1, "speed/steps_per_second": s, "speed/images_per_second": 10 * s} for s in (1.0, 2.0, 30.0)]
lines.append({"step": steps, "eval/R@1": float(flags["config.learning_rate"])})
(workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\\n" for line in lines))
"""


@pytest.fixture
def sweep(tmp_path, monkeypatch):
  launch = tmp_path / "launch.py"
  launch.write_text(FAKE_LAUNCH)
  monkeypatch.setattr(runs, "LAUNCH", launch)
  return lambda: scaling.run_sweep(SWEEP, CONFIG, tmp_path / "runs")


def calls(tmp_path):
  return {path.parts[-3]: len(path.read_text().split()) for path in tmp_path.glob("runs/*/*/calls")}


def test_a_run_that_fails_is_reported_and_the_others_go_on(sweep, tmp_path):
  metric, results = sweep()
  failed = [result for result in results if result.recall is None]
  assert [result.fields["batch_size"] for result in failed] == [128, 128]
  assert len(results) == 9
  scaling.write_tables(metric, results, tmp_path / "table")
  with (tmp_path / "table.csv").open() as file:
    rows = list(csv.DictReader(file))
  assert [row["batch_size"] for row in rows if not row["R@1"]] == ["128", "128"]
  assert [row["images_per_second"] for row in rows if row["R@1"]] == ["20.0"] * 7
  table = (tmp_path / "table.md").read_text()
  assert "| batch 512, learning rate 0.08 | 512 | 0.08 | 50 | 8.0 | 2.0 | 20.0 |" in table
  assert "| batch 128, learning rate 0.02 | 128 | 0.02 | 200 | failed | failed | failed |" in table
  scaling.draw(metric, results, tmp_path / "plot.png")
  with Image.open(tmp_path / "plot.png") as plot:
    assert len(set(plot.convert("L").tobytes())) > 10


def test_only_what_failed_is_trained_again(sweep, tmp_path):
  _, first = sweep()
  _, second = sweep()
  assert first == second
  assert sorted(calls(tmp_path).values()) == 7 * [1] + 2 * [2]
  assert all("batch_128" in name for name, number in calls(tmp_path).items() if number == 2)


def test_every_run_sees_as_many_examples():
  config = shapes.get_config()
  for _, fields in large_batch.get_sweep(config):
    assert fields["batch_size"] * fields["num_train_steps"] == config.batch_size * config.num_train_steps
    assert fields["decay_every_steps"] / fields["num_train_steps"] == pytest.approx(0.75, abs=0.02)
    assert json.loads(config.to_json()).keys() >= fields.keys()
