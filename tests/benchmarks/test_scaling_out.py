"""The benchmark at a small size: what it prints has to show that work falls as devices are added."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from composeret_jax.train_step.losses import LOSSES

ROOT = pathlib.Path(__file__).parents[2]
BATCH, DIM, BLOCK_ROWS = 128, 16, 4


def rows_of(tmp_path, *arguments):
  """The benchmark's rows on 1 and 8 devices, where tensorflow_datasets cannot be imported."""
  (tmp_path / "tensorflow_datasets.py").write_text('raise ImportError("not here")')
  size = [f"--batch_size={BATCH}", f"--dim={DIM}", f"--block_rows=0,{BLOCK_ROWS}", "--num_devices=1,8"]
  command = [sys.executable, "-m", "benchmarks.scaling_out", *size, *arguments, f"--output={tmp_path / 'out.json'}"]
  environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
  done = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=1200)
  assert done.returncode == 0, done.stderr[-2000:]
  return json.loads((tmp_path / "out.json").read_text())["rows"]


def check(rows):
  assert {row["devices"] for row in rows} == {1, 8}
  for row in rows:
    assert 0.9 < row["flops_share"] <= 1.1, row
    assert row["in_loops"] == 0, row
    assert row["collective_mb"] <= 4 * 4 * BATCH * DIM / 1e6 + 0.01, row  # features and their gradients, once
  held = {(row["loss"], row["kind"], row["block_rows"], row["devices"]): row["temporary_gb"] for row in rows}
  for loss, kind, block_rows, devices in held:
    if loss != "soft_triplet" and devices == 8:
      assert held[loss, kind, block_rows, devices] < held[loss, kind, block_rows, 1]


def test_a_devices_work_falls_as_devices_are_added(tmp_path):
  """Takes the time of three processes, each with devices of its own."""
  rows = rows_of(tmp_path, "--losses=sigmoid", "--kinds=jit")
  assert len(rows) == 4
  check(rows)


@pytest.mark.slow
def test_it_falls_for_every_loss_and_kind(tmp_path):
  """Slow, for it compiles 40 steps."""
  rows = rows_of(tmp_path)
  assert len(rows) == len(LOSSES) * 2 * 2 * 2
  check(rows)
