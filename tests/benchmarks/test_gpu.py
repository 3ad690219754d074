"""The one command for a GPU, where there is none: its table, its time limit, its refusals."""

import json
import pathlib
import subprocess
import sys
import time

from benchmarks import gpu

ROOT = pathlib.Path(gpu.__file__).parent.parent


def step(seconds):
  return {"seconds_per_step": seconds, "flops_per_step": 2e12, "peak_flops": 1e15}


def test_each_figure_stands_beside_what_was_wanted():
  kind = {"phase": "backward", "kind": "loop_fusion", "ms_a_step": 2.0, "runs_a_step": 40.0}
  results = {
    "resnet_jax": step(0.02),
    "resnet_torch": {"seconds_per_step": 0.025},
    "towers_jax": step(0.01),
    "placement": {
      "rows": [
        {"images": "one batch, never moved", "images_per_second": 1000.0, "share": 1.0},
        {"images": "images on the device", "images_per_second": 970.0, "share": 0.97},
        {"images": "streamed from the store", "images_per_second": 970.0, "share": 0.97},
      ]
    },
    "large_batch": {"rows": [{"batch": 32768, "failed": "out of memory"}]},
    "step_profile": {
      "busy": 0.9,
      "by_kind": [
        {**kind, "gb_a_step": 6.0, "tb_per_second": 3.0},
        {**kind, "kind": "conv", "gb_a_step": 0.0, "tb_per_second": 0.0},
      ],
    },
  }
  assert list(gpu.rows(results)) == [
    ("ResNet-18, jax", "20.00 ms a step, 10.0% of the peak", ""),
    ("ResNet-18, torch", "25.00 ms a step", ""),
    ("ResNet-18, ours against PyTorch", "1.25", "met: at least 1.15"),
    ("towers, jax", "10.00 ms a step, 20.0% of the peak", ""),
    ("one batch, never moved", "1,000 images a second, 1.000 of the first", ""),
    ("images on the device", "970 images a second, 0.970 of the first", "missed: at least 0.98"),
    ("streamed from the store", "970 images a second, 0.970 of the first", "met: at least 0.95"),
    ("batch 32768 in microbatches", "out of memory", "failed"),
    ("operations' share of a step", "90%", ""),
    ("backward loop_fusion", "2.00 ms, 40 runs, 6.00 GB at 3.00 TB/s", ""),
    ("backward conv", "2.00 ms, 40 runs, bytes not known", ""),
  ]


def part(*arguments, seconds):
  return gpu.Part("large", "large_batch", arguments, seconds)


def test_a_part_that_takes_too_long_is_ended(tmp_path):
  start = time.monotonic()
  assert part("--batch_sizes=256", seconds=1).run(tmp_path, seconds=60) == "the time was up"
  assert part("--batch_sizes=256", seconds=60).run(tmp_path, seconds=1) == "the time was up"
  assert time.monotonic() - start < 20
  assert not (tmp_path / "large.json").exists()


def test_a_part_that_fails_says_how(tmp_path, capsys):
  assert part("--batch_sizes=3", seconds=60).run(tmp_path, seconds=60) == "ended with status 1"
  assert "expected multiples of --microbatch=256" in capsys.readouterr().out


def test_the_summary_so_far_has_figures_and_failures(tmp_path):
  (tmp_path / "resnet_jax.json").write_text(json.dumps(step(0.02)))
  text = gpu.write_summary(tmp_path, "a device", ["resnet_jax", "placement"], {"placement": "the time was up"})
  assert text.startswith("a device\n") and (tmp_path / "summary.md").read_text() == text
  assert "| ResNet-18, jax | 20.00 ms a step, 10.0% of the peak |  |" in text
  assert "| placement | not measured: the time was up, see " in text
  assert json.loads((tmp_path / "results.json").read_text())["results"] == {"resnet_jax": step(0.02)}


def test_it_refuses_a_machine_without_a_gpu(tmp_path):
  command = [sys.executable, "-m", "benchmarks.gpu", f"--folder={tmp_path / 'new'}"]
  environment = {"JAX_PLATFORMS": "cpu", "PATH": ""}
  done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
  assert done.returncode == 1
  assert done.stderr.splitlines()[-1].startswith("error: JAX finds no GPU here")
  assert not (tmp_path / "new").exists()
