"""The one command for a GPU, where there is none: its table, its time limit, its refusals."""

import pathlib
import subprocess
import sys
import time

from benchmarks import gpu

ROOT = pathlib.Path(gpu.__file__).parent.parent


def step(seconds):
  return {"seconds_per_step": seconds, "flops_per_step": 2e12, "peak_flops": 1e15}


def test_each_figure_stands_beside_what_was_wanted():
  results = {
    "train_step": {
      "settings": {"batch_size": 100},
      "results": {"torch": step(0.025), "jax": step(0.02), "jax_loop": step(0.022)},
    },
    "placement": {
      "rows": [
        {"images": "one batch, never moved", "images_per_second": 1000.0, "share": 1.0},
        {"images": "images on the device", "images_per_second": 970.0, "share": 0.97},
        {"images": "streamed from the store", "images_per_second": 970.0, "share": 0.97},
      ]
    },
    "large_batch": {"rows": [{"batch": 32768, "failed": "out of memory"}]},
  }
  assert list(gpu.rows(results)) == [
    ("torch: one batch", "8,000 images a second", ""),
    ("jax: one batch", "10,000 images a second", ""),
    ("jax_loop: one batch", "9,091 images a second", ""),
    ("ours against PyTorch", "1.25", "met: at least 1.2"),
    ("share of the device's peak", "10.0%", ""),
    ("one batch, never moved", "1,000 images a second, 1.000 of the first", ""),
    ("images on the device", "970 images a second, 0.970 of the first", "missed: at least 0.98"),
    ("streamed from the store", "970 images a second, 0.970 of the first", "met: at least 0.95"),
    ("batch 32768 in microbatches", "out of memory", "failed"),
  ]


def test_a_part_that_takes_too_long_is_ended(tmp_path):
  start = time.monotonic()
  assert gpu.run_part("large_batch", ["--batch_sizes=256"], tmp_path, seconds=1) == "the time was up"
  assert time.monotonic() - start < 10
  assert not (tmp_path / "large_batch.json").exists()


def test_a_part_that_fails_says_how(tmp_path, capsys):
  assert gpu.run_part("large_batch", ["--batch_sizes=3"], tmp_path, seconds=60) == "ended with status 1"
  assert "expected multiples of --microbatch=256" in capsys.readouterr().out


def test_it_refuses_a_machine_without_a_gpu(tmp_path):
  command = [sys.executable, "-m", "benchmarks.gpu", f"--folder={tmp_path / 'new'}"]
  environment = {"JAX_PLATFORMS": "cpu", "PATH": ""}
  done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
  assert done.returncode == 1
  assert done.stderr.splitlines()[-1].startswith("error: JAX finds no GPU here")
  assert not (tmp_path / "new").exists()
