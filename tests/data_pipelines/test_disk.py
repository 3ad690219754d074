"""A disk that takes nothing more: a message, and what was saved before goes on."""

import contextlib
import errno
import json
import os
import pathlib
import subprocess
import sys

import pytest

from data_pipelines.paths import disk_problem

ROOT = pathlib.Path(__file__).parents[2]


def test_what_is_no_disk_problem_is_none():
  assert disk_problem(ValueError("no")) is None
  assert disk_problem(FileNotFoundError(errno.ENOENT, "No such file", "a")) is None


def test_a_full_disk_is_said_with_its_path_whoever_raised():
  full = OSError(errno.ENOSPC, "No space left on device", "runs/a/metrics.jsonl")
  assert disk_problem(full).startswith("cannot write, the disk is full: runs/a/metrics.jsonl. The same command goes on")
  outer = RuntimeError("saving failed")
  outer.__cause__ = full
  assert "runs/a/metrics.jsonl" in disk_problem(outer)
  assert "the disk is full" in disk_problem(ValueError("RESOURCE_EXHAUSTED: No space left on device"))


@contextlib.contextmanager
def small_disk(folder, size):
  folder.mkdir()
  mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
  if mounted.returncode:
    pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
  try:
    yield folder
  finally:
    subprocess.run(["umount", "-l", folder], check=True)


def launch(config_file, workdir, *more):
  command = [sys.executable, "launch.py", f"--config={config_file}", f"--workdir={workdir}", *more]
  return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})


@pytest.fixture
def config_file(raw_mit_states, prepared, tmp_path):
  """A tiny run whose state is a megabyte: Adam's moments of a wide layer."""
  file = tmp_path / "config.py"
  file.write_text(
    "import pathlib\nfrom tests.fakes import tiny\n\n\ndef get_config():\n"
    f"  config = tiny.config(pathlib.Path({str(raw_mit_states)!r}), pathlib.Path({str(prepared)!r}))\n"
    "  config.model.composer = 'sum'\n"
    "  config.model.loss_weights.update(image_reconstruction=0.0, text_reconstruction=0.0, rotational_symmetry=0.0)\n"
    "  config.model.image_encoder.feature_dim = 4_096\n"
    "  config.num_newest_checkpoints = 3\n"
    "  config.checkpoint_every_steps = 1\n"
    "  return config\n"
  )
  return file


@pytest.mark.slow
def test_a_run_on_a_full_disk_says_so_and_goes_on_when_there_is_room(config_file, tmp_path):
  undisturbed = launch(config_file, tmp_path / "undisturbed")
  assert not undisturbed.returncode, undisturbed.stderr[-2000:]
  with small_disk(tmp_path / "disk", "4m") as disk:
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(3_300_000))
    full = launch(config_file, disk / "run")
    assert full.returncode == 1, full.stderr[-3000:]
    # A thread of Orbax prints a traceback of its own.
    said = [line for line in full.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == 1 and said[0].startswith(f"error: cannot write, the disk is full: {disk}/run/"), full.stderr[
      -3000:
    ]
    ballast.unlink()
    assert not launch(config_file, disk / "run", "--config.num_newest_checkpoints=1").returncode
    assert lines(disk / "run") == lines(tmp_path / "undisturbed")


def lines(workdir):
  """What was reported, but for the speed."""
  reports = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  return [{name: value for name, value in line.items() if not name.startswith("speed/")} for line in reports]


def test_a_workdir_that_cannot_be_written_is_said(config_file):
  refused = launch(config_file, "/proc/run")
  assert refused.returncode == 1
  assert refused.stderr.strip().splitlines()[-1].startswith("error: --workdir=/proc/run cannot be written: ")
  assert "Traceback" not in refused.stderr
