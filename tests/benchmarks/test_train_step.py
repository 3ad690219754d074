"""The comparison with PyTorch at tiny sizes, as it is called."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

from benchmarks import train_step

ROOT = pathlib.Path(train_step.__file__).parent.parent
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


def compare(*arguments):
  command = [sys.executable, "-m", "benchmarks.train_step", "--batch_size=4", "--num_steps=1", *arguments]
  return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)


@needs_torch
@pytest.mark.parametrize("arguments", [["--composer_only"], ["--image_size=32", "--loss=batch_based_classification"]])
def test_both_contenders_have_as_many_parameters_and_a_time(tmp_path, arguments):
  done = compare(*arguments, f"--output={tmp_path / 'times.json'}")
  assert done.returncode == 0, done.stderr
  results = json.loads((tmp_path / "times.json").read_text())["results"]
  assert results["torch"]["num_parameters"] == results["jax"]["num_parameters"] > 4e6
  for name in ("torch", "jax"):
    assert f"| {name} | {results[name]['device']} | {1e3 * results[name]['seconds_per_step']:.2f} |" in done.stdout


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is installed")
def test_without_pytorch_it_says_so():
  done = compare("--composer_only")
  assert done.returncode == 1
  assert done.stderr.splitlines()[-1].startswith("error: PyTorch is not installed")


@pytest.mark.slow
def test_the_loop_on_the_device_has_a_time_a_step():
  done = compare("--composer_only", "--num_steps=3", "--contender=jax_loop")
  assert done.returncode == 0, done.stderr
  assert json.loads(done.stdout)["seconds_per_step"] > 0
