"""A run that is killed at twenty moments and started again each time ends as one that was never disturbed."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from composeret_jax.serving.bundle import load

ROOT = pathlib.Path(__file__).parents[3]
NUM_STEPS = 120
# What the process is doing when it is killed, in the order in which a run comes by.
MOMENTS = (
  *["preparation"] * 4,
  *["store"] * 2,
  *["compilation"] * 2,
  *["training"] * 4,
  *["save"] * 3,
  *["evaluation"] * 2,
  *["export"] * 3,
)


class Place:
  """One run's folders, and what can be seen of it from outside."""

  def __init__(self, folder, raw_folder):
    folder.mkdir()
    self.prepared, self.workdir, self.bundle = folder / "prepared", folder / "run", folder / "bundle"
    self.config = folder / "config.py"
    self.config.write_text(
      "import pathlib\nfrom tests.fakes import tiny\n\n\ndef get_config():\n"
      f"  config = tiny.config(pathlib.Path({str(raw_folder)!r}), pathlib.Path({str(self.prepared)!r}))\n"
      f"  config.num_train_steps = {NUM_STEPS}\n"
      "  config.checkpoint_every_steps = 5\n"
      "  config.eval_every_steps = 30\n"
      "  return config\n"
    )

  def start(self, export):
    command = [sys.executable, "launch.py", f"--config={self.config}", f"--workdir={self.workdir}"]
    command += ["--mode=export", f"--bundle={self.bundle}"] if export else []
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

  def reports(self):
    file = self.workdir / "metrics.jsonl"
    whole = file.read_text().rpartition("\n")[0] if file.exists() else ""
    return [json.loads(line) for line in whole.splitlines()]

  def is_at(self, moment, num_reports):
    """Whether the process that was started when there were `num_reports` has come to the moment."""
    if moment == "preparation":
      return any(self.prepared.rglob("*.incomplete*")) or any(self.prepared.rglob("*.json"))
    if moment == "store":
      return any(path.parent.name == "pixels" for path in self.prepared.rglob("*"))
    if moment == "compilation":
      return (self.workdir / "config.json").exists()
    if moment == "save":
      return any((self.workdir / "checkpoints").glob("*tmp*"))
    if moment == "export":
      return any(self.bundle.parent.glob(".bundle.partial-*"))
    reports = self.reports()
    if moment == "training":
      return len(reports) > num_reports
    return bool(reports) and reports[-1]["step"] % 30 == 0 and "train/total" in reports[-1]


def run_to_the_end(place, export):
  process = place.start(export)
  output, _ = process.communicate(timeout=600)
  assert process.returncode == 0, output.decode()[-3000:]


def kill_at(place, moment, delay):
  """Starts the run, or the export, and kills it `delay` seconds after it comes to the moment."""
  num_reports = len(place.reports())
  process = place.start(export=moment == "export")
  while process.poll() is None and not place.is_at(moment, num_reports):
    time.sleep(0.002)
  time.sleep(delay)
  process.send_signal(signal.SIGKILL)
  output, _ = process.communicate()
  assert process.returncode in (-signal.SIGKILL, 0), output.decode()[-3000:]
  return process.returncode


def results(place):
  """What was reported of each step, but for the speed."""
  return [{name: value for name, value in line.items() if not name.startswith("speed/")} for line in place.reports()]


@pytest.mark.slow
def test_twenty_kills_change_nothing(raw_mit_states, tmp_path):
  undisturbed, killed = (Place(tmp_path / name, raw_mit_states) for name in ("undisturbed", "killed"))
  for export in (False, True):
    run_to_the_end(undisturbed, export)
  rng = random.Random(2026)
  num_killed = 0
  for moment in MOMENTS:
    if moment == "export" and not killed.bundle.parent.joinpath("trained").exists():
      run_to_the_end(killed, export=False)
      killed.bundle.parent.joinpath("trained").touch()
    num_killed += kill_at(killed, moment, rng.uniform(0, 0.05)) == -signal.SIGKILL
  run_to_the_end(killed, export=True)

  assert num_killed == len(MOMENTS) == 20
  assert results(killed) == results(undisturbed)
  steps = [line["step"] for line in results(killed) if "train/total" in line]
  assert steps == list(range(1, NUM_STEPS + 1))
  names = sorted(path.name for path in (killed.workdir / "checkpoints").iterdir())
  assert names == sorted(path.name for path in (undisturbed.workdir / "checkpoints").iterdir())
  weights = [(place.bundle / "weights.safetensors").read_bytes() for place in (killed, undisturbed)]
  assert weights[0] == weights[1]
  assert load(killed.bundle).info["metrics"] == load(undisturbed.bundle).info["metrics"]
