"""The composers' steps: all train, and a line of the table is arithmetic on what was timed."""

import pathlib
import subprocess
import sys

import pytest

from benchmarks import composers
from benchmarks.built_step import BuiltStep
from benchmarks.composers import table

ROOT = pathlib.Path(composers.__file__).parent.parent


@pytest.mark.slow
def test_every_composer_is_timed_and_its_parameters_are_counted():
  command = [sys.executable, "-m", "benchmarks.composers", "--batch_size=4", "--num_steps=1"]
  done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
  cells = [[cell.strip() for cell in line.split("|")] for line in done.stdout.splitlines()[2:]]
  parameters = {row[1]: int(row[3].replace(",", "")) for row in cells}
  dim, radius = 512, 1
  angle, shift = dim * dim + dim * dim // 2, 2 * dim * dim
  gate, image_decoder, text_decoder = 2 * dim * dim + dim, dim * dim + dim, 2 * (dim * dim + dim)
  assert parameters["rotor"] == angle + shift + gate + image_decoder + text_decoder + radius
  assert parameters["rotor"] < parameters["compose_ae"]
  assert all(float(row[4]) > 0 for row in cells)


def test_a_ratio_is_the_median_over_rounds():
  contenders = {
    "compose_ae": BuiltStep(lambda: None, lambda: None, 5_000, "cpu"),
    "rotor": BuiltStep(lambda: None, lambda: None, 4_000, "cpu"),
  }
  seconds = {"compose_ae": [1.0, 2.0, 4.0], "rotor": [0.5, 2.0, 3.0]}
  assert table(contenders, seconds).splitlines()[3] == "| rotor | cpu | 4,000 | 0.75 |  |"
