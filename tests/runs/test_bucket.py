"""A run in a bucket that is killed five times and started again each time ends as one that was never disturbed."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from composeret_jax.serving.bundle import load
from composeret_jax.training.workdir.saved_arrays import saved_arrays
from data_pipelines.buckets.addresses import is_address, objects
from data_pipelines.paths import path_or_address

ROOT = pathlib.Path(__file__).parents[2]
NUM_STEPS = 40
# What the process is doing when it is killed, in the order in which a run comes by.
MOMENTS = ("compilation", "training", "save", "training", "save")


class Run:
  """A run, and what can be seen of it from outside."""

  def __init__(self, workdir, folder, raw_folder):
    folder.mkdir()
    self.workdir, self.config = path_or_address(workdir, "--workdir"), folder / "config.py"
    self.config.write_text(
      "import pathlib\nfrom tests.fakes import tiny\n\n\ndef get_config():\n"
      f"  config = tiny.config(pathlib.Path({str(raw_folder)!r}), pathlib.Path({str(folder / 'prepared')!r}))\n"
      f"  config.num_train_steps = {NUM_STEPS}\n"
      "  config.checkpoint_every_steps = 5\n"
      "  config.eval_every_steps = 20\n"
      "  return config\n"
    )

  def start(self, *flags):
    command = [sys.executable, "launch.py", f"--workdir={self.workdir}", *(flags or [f"--config={self.config}"])]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
      command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

  def end(self, *flags):
    """Waits for the end; returns what was printed."""
    process = self.start(*flags)
    printed, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors[-3000:]
    return printed

  def kill_at(self, moment):
    """Starts the run, and kills it when it has come to the moment."""
    num_reports = len(self.reports())
    process = self.start()
    while process.poll() is None and not self.is_at(moment, num_reports):
      time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors[-3000:]

  def is_at(self, moment, num_reports):
    """Whether the process that was started when there were `num_reports` has come to the moment."""
    if moment == "compilation":
      return (self.workdir / "config.json").exists()
    if moment == "training":
      return len(self.reports()) > num_reports + 2
    there = list(objects(self.workdir / "checkpoints"))
    steps = {name.partition("/")[0] for name in there}
    return any(f"{step}/commit_success.txt" not in there for step in steps)

  def reports(self):
    """What was reported of each step, but for the speed."""
    file = self.workdir / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    rows = [json.loads(line) for line in lines]
    return [{name: value for name, value in row.items() if not name.startswith("speed/")} for row in rows]

  def steps(self):
    folder = self.workdir / "checkpoints"
    if is_address(folder):
      return {int(name.partition("/")[0]) for name in objects(folder)}
    return {int(path.name) for path in folder.iterdir()}

  def parameters(self):
    return saved_arrays(self.workdir / "checkpoints" / str(NUM_STEPS) / "state", "params.")


@pytest.mark.slow  # seven starts of the program, and three more to evaluate and export
def test_five_kills_of_a_run_in_a_bucket_change_nothing(raw_mit_states, tmp_path, bucket, monkeypatch):
  undisturbed = Run(tmp_path / "run", tmp_path / "undisturbed", raw_mit_states)
  table = undisturbed.end()
  killed = Run(f"{bucket}/run", tmp_path / "killed", raw_mit_states)
  for moment in MOMENTS:
    killed.kill_at(moment)
    assert (killed.workdir / ".lock").exists()
  assert killed.end() == table

  ours, theirs = killed.parameters(), undisturbed.parameters()
  assert ours.keys() == theirs.keys()
  for name in theirs:
    np.testing.assert_array_equal(ours[name], theirs[name], name)
  assert killed.reports() == undisturbed.reports()
  assert killed.steps() == undisturbed.steps()
  assert not (killed.workdir / ".lock").exists()
  assert killed.end("--mode=eval") == table

  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  places = f"{bucket}/bundle", str(tmp_path / "bundle")
  for run, place in zip((killed, undisturbed), places, strict=True):
    run.end("--mode=export", f"--bundle={place}")
  image = np.full((20, 20, 3), 100, np.uint8)
  np.testing.assert_array_equal(*(load(place).compose([image], ["dark"]) for place in places))
