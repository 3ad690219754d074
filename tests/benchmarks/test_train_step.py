"""The comparison with PyTorch at tiny sizes, as it is called."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

from benchmarks import train_step
from benchmarks.clip_towers import batch_for, TOWERS

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


def test_towers_and_their_texts_have_clips_sizes():
  towers = TOWERS["vit_b32"]
  assert towers.end_id == 49_407  # transformers' eos_token_id
  assert (towers.vision["hidden_size"], towers.text["hidden_size"], towers.projection_dim) == (768, 512, 512)
  batch = batch_for(TOWERS["tiny"], 3)
  assert batch["text"].shape == (3, 9) and (batch["text"][:, -1] == TOWERS["tiny"].end_id).all()
  assert (batch["text"][:, :-1] < TOWERS["tiny"].end_id).all()


@pytest.mark.slow  # a program of its own
def test_our_towers_are_fine_tuned_in_microbatches():
  done = compare("--tower=tiny", "--contender=jax", "--num_microbatches=2")
  assert done.returncode == 0, done.stderr
  layer = 4 * (32 * 32 + 32) + 2 * 32 * 128 + 128 + 32 + 4 * 32
  vision = 3 * 8 * 8 * 32 + 32 + 17 * 32 + 4 * 32 + 2 * layer + 32 * 16
  text = 64 * 32 + 9 * 32 + 2 * 32 + 2 * layer + 32 * 16
  result = json.loads(done.stdout)
  assert result["num_parameters"] == vision + text
  assert result["seconds_per_step"] > 0 and result["flops_per_step"] > 0


@needs_torch
@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers is not installed")
def test_towers_of_both_have_as_many_parameters(tmp_path):
  done = compare("--tower=tiny", f"--output={tmp_path / 'times.json'}")
  assert done.returncode == 0, done.stderr
  results = json.loads((tmp_path / "times.json").read_text())["results"]
  assert results["torch"]["num_parameters"] == results["jax"]["num_parameters"]
