"""A run that is killed twenty times while it resumes loses no line of its metrics, and reports no step twice."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from composeret_jax.training.train import train
from tests.fakes.killed_while_resuming import config_of

ROOT = pathlib.Path(__file__).parents[3]
NUM_STEPS = 30
MOMENTS = (
  *[("metrics.jsonl", number) for number in range(1, 5)],  # read, written beside, put in place, and a line
  ("written:metrics.jsonl", 1),
  ("written:config.json", 1),
  *[("config.json", number) for number in (1, 2)],
  *[("checkpoints", number) for number in (1, 8, 15, 22)],
  *[("restore", milliseconds) for milliseconds in (0, 5, 20, 80)],
  *[("fsync", number) for number in range(1, 5)],
)


def reports(workdir):
  """The whole lines of metrics.jsonl, without the speed."""
  lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().split("\n")[:-1]]
  return [{name: value for name, value in line.items() if not name.startswith("speed/")} for line in lines]


def newest(workdir):
  return max(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdecimal())


def until(lines, step):
  return [line for line in lines if line["step"] <= step]


@pytest.mark.slow  # twenty processes
def test_twenty_kills_while_resuming_lose_no_line(raw_mit_states, prepared, tmp_path):
  whole, killed = tmp_path / "whole", tmp_path / "killed"
  train(config_of(raw_mit_states, prepared, NUM_STEPS), whole)
  expected = reports(whole)
  train(config_of(raw_mit_states, prepared, 10), killed)
  for moment, number in MOMENTS:
    program = [sys.executable, "-m", "tests.fakes.killed_while_resuming", str(raw_mit_states), str(prepared)]
    program += [str(killed), str(NUM_STEPS), moment, str(number)]
    with (killed / "metrics.jsonl").open("a") as file:
      file.write('{"step": 28, "tra')  # as a kill while a line is written leaves it
    result = subprocess.run(
      program, cwd=ROOT, env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True, timeout=300
    )
    assert result.returncode == -signal.SIGKILL, (moment, number, result.stderr.decode()[-2000:])
    assert until(reports(killed), newest(killed)) == until(expected, newest(killed)), (moment, number)
  assert len(MOMENTS) == 20
  assert newest(killed) < NUM_STEPS
  train(config_of(raw_mit_states, prepared, NUM_STEPS), killed)
  assert reports(killed) == expected
  assert json.loads((killed / "config.json").read_text())["num_train_steps"] == NUM_STEPS
  assert not (killed / "unreadable_metrics.jsonl").exists()
