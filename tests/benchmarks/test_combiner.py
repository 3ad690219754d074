"""The Combiner's epoch at tiny sizes, as it is called."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.slow
def test_every_contender_has_a_time_and_the_same_size(tmp_path):
  sizes = ["--num_triplets=20", "--num_images=9", "--dim=8", "--batch_size=4", "--num_steps=4", "--num_rounds=1"]
  command = [sys.executable, "-m", "benchmarks.combiner", *sizes, "--steps_per_call=2"]
  done = subprocess.run(
    [*command, f"--output={tmp_path / 'times.json'}"], cwd=ROOT, capture_output=True, text=True, timeout=240
  )
  assert done.returncode == 0, done.stderr
  rows = json.loads((tmp_path / "times.json").read_text())["rows"]
  expected = ["ours", "pytorch"] if importlib.util.find_spec("torch") else ["ours"]
  assert [row["contender"] for row in rows] == expected
  assert all(row["seconds_an_epoch"] > 0 and row["cpu_seconds"] > 0 and row["loss"] > 0 for row in rows)
  assert all(row["contender"] in done.stdout for row in rows)
