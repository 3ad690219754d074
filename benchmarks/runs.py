"""Runs of launch.py: each in a workdir of its own, trained unless it is finished, and its metrics read back."""

from collections.abc import Iterator, Sequence
import dataclasses
import hashlib
import json
import pathlib
import re
import shlex
import subprocess
import sys
from typing import Any

LAUNCH = pathlib.Path(__file__).parent.parent / "launch.py"
# What each half of a query finds alone is in metrics.jsonl, not in the table.
LEFT_OUT = ("eval/image_only/", "eval/text_only/")


@dataclasses.dataclass(frozen=True)
class Run:
  """One row of the table: a configuration with its overrides, trained once for each seed."""

  title: str
  arguments: tuple[str, ...]
  seeds: tuple[int, ...]

  def workdir(self, runs_dir: pathlib.Path, seed: int) -> pathlib.Path:
    """The folder of a seed's run: another one whenever the arguments change."""
    name = re.sub(r"\W+", "_", self.title.lower()).strip("_")
    digest = hashlib.sha256("\0".join(self.arguments).encode()).hexdigest()[:6]
    return runs_dir / f"{name}-{digest}" / f"seed{seed}"


def parse_run(text: str, seeds: Sequence[str]) -> Run:
  """Reads TITLE | CONFIG [OVERRIDES] [| SEEDS]; raises ValueError when it is something else."""
  parts = [part.strip() for part in text.split("|")]
  if len(parts) not in (2, 3) or not all(parts):
    raise ValueError(f"--run={text!r}: expected TITLE | CONFIG [OVERRIDES] [| SEEDS]")
  config, *overrides = shlex.split(parts[1])
  seeds = parts[2].split(",") if len(parts) == 3 else seeds
  return Run(parts[0], (f"--config={config}", *overrides), tuple(int(seed) for seed in seeds))


def metrics_lines(workdir: pathlib.Path) -> Iterator[dict[str, Any]]:
  """The lines that the run has reported; none before it starts."""
  metrics = workdir / "metrics.jsonl"
  if metrics.exists():
    yield from (json.loads(line) for line in metrics.read_text().splitlines(keepends=True) if line.endswith("\n"))


def final_metrics(workdir: pathlib.Path) -> dict[str, float] | None:
  """The metrics of the evaluation after the last step, without `eval/`; None while the run has not come so far."""
  config = workdir / "config.json"
  if not config.exists():
    return None
  last_step = json.loads(config.read_text())["num_train_steps"]
  last_lines = [line for line in metrics_lines(workdir) if line["step"] == last_step]
  evaluations = [line for line in last_lines if any(key.startswith("eval/") for key in line)]
  if not evaluations:
    return None
  kept = [key for key in evaluations[-1] if key.startswith("eval/") and not key.startswith(LEFT_OUT)]
  return {key.removeprefix("eval/"): evaluations[-1][key] for key in kept}


def train(run: Run, seed: int, workdir: pathlib.Path) -> dict[str, float] | None:
  """The final metrics of a run, trained first unless it is finished; None, and a message, when training fails."""
  metrics = final_metrics(workdir)
  if metrics is not None:
    print(f"{workdir} is finished", flush=True)
    return metrics
  print(f"{workdir} is being trained", flush=True)
  workdir.mkdir(parents=True, exist_ok=True)
  log = workdir / "log.txt"
  command = [sys.executable, str(LAUNCH), *run.arguments, f"--config.seed={seed}", f"--workdir={workdir}"]
  with log.open("a") as output:
    status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
  metrics = final_metrics(workdir) if status == 0 else None
  if metrics is None:
    print(f"{workdir} failed with status {status}: see {log}", flush=True)
  return metrics
