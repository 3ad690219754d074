"""Whether memory stays flat over a long run: `python -m benchmarks.long_run --workdir=runs/long`.

Trains a model of a few weights on small pictures with the program's own loop, its logs, evaluations and checkpoints.
Draws the memory of the process and of its devices' arrays against the steps.
"""

from collections.abc import Sequence
import json
import pathlib
import threading
import time
from typing import NamedTuple

from absl import app, flags
import jax
import matplotlib
import ml_collections
import numpy as np

from composeret_jax.training.train import train
from configs import shapes

matplotlib.use("agg")
from matplotlib import pyplot  # noqa: E402

MEGABYTE = 1e6
WARM_UP = 0.2  # share of the steps after which the slope is taken: by then everything has come once


class Look(NamedTuple):
  """The memory at one moment, in bytes, and the steps that were reported by then."""

  step: int
  host: int
  device: int


def tiny_config(num_steps: int) -> ml_collections.ConfigDict:
  """Small pictures, a small model, and ten evaluations."""
  config = shapes.get_config()
  config.data.image_size = 16
  config.model.image_encoder.width = 4
  config.model.image_encoder.feature_dim = 16
  config.model.text_encoder.embedding_dim = 8
  config.model.text_encoder.feature_dim = 16
  config.batch_size = 8
  config.num_train_steps = num_steps
  config.eval_every_steps = max(1, num_steps // 10)
  config.checkpoint_every_steps = max(1, num_steps // 50)
  return config


def look(metrics_file: pathlib.Path) -> Look:
  """This process' resident memory and the size of all arrays on devices."""
  resident = int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096
  return Look(_last_step(metrics_file), resident, sum(array.nbytes for array in jax.live_arrays()))


def _last_step(metrics_file: pathlib.Path) -> int:
  if not metrics_file.exists():
    return 0
  lines = metrics_file.read_text().rpartition("\n")[0].splitlines()
  return json.loads(lines[-1])["step"] if lines else 0


def watched(config: ml_collections.ConfigDict, workdir: pathlib.Path, seconds: float) -> list[Look]:
  """Trains, and looks at the memory every `seconds`."""
  looks, done = [], threading.Event()

  def watch():
    while not done.wait(seconds):
      looks.append(look(workdir / "metrics.jsonl"))

  thread = threading.Thread(target=watch)
  thread.start()
  try:
    train(config, workdir)
  finally:
    done.set()
    thread.join()
  return [*looks, look(workdir / "metrics.jsonl")]


def slope(looks: Sequence[Look], name: str) -> float:
  """Bytes a step, by least squares over what comes after the warm-up."""
  steps = np.array([moment.step for moment in looks], float)
  values = np.array([getattr(moment, name) for moment in looks], float)
  late = steps >= WARM_UP * steps.max()
  return float(np.polyfit(steps[late], values[late], 1)[0]) if len(set(steps[late])) > 1 else 0.0


def draw(looks: Sequence[Look], file: pathlib.Path) -> None:
  """Memory of the process above, of the devices' arrays below."""
  figure, axes = pyplot.subplots(2, 1, sharex=True, figsize=(8, 5), layout="constrained")
  for axis, name, title in zip(axes, ("host", "device"), ("process", "arrays on devices"), strict=True):
    axis.plot([moment.step for moment in looks], [getattr(moment, name) / MEGABYTE for moment in looks])
    axis.set(ylabel="MB", title=title, ylim=(0, None))
  axes[-1].set_xlabel("steps")
  figure.savefig(file, dpi=100)
  pyplot.close(figure)


def report(looks: Sequence[Look], seconds: float) -> str:
  """First, last and largest after the warm-up, and the slope."""
  late = [moment for moment in looks if moment.step >= WARM_UP * looks[-1].step]
  lines = [f"{looks[-1].step:,} steps in {seconds:,.0f} s; after the first {WARM_UP:.0%} of them, in MB:", ""]
  lines += ["| | first | last | largest | a 10,000 steps |", "| --- | --- | --- | --- | --- |"]
  for name, title in (("host", "process"), ("device", "arrays on devices")):
    values = [getattr(moment, name) / MEGABYTE for moment in late]
    growth = slope(looks, name) * 10_000 / MEGABYTE
    lines.append(f"| {title} | {values[0]:.1f} | {values[-1]:.1f} | {max(values):.1f} | {growth:+.2f} |")
  return "\n".join(lines)


def define_flags() -> None:
  """The command line of this script."""
  flags.DEFINE_string("workdir", None, "A folder that is not there yet.", required=True)
  flags.DEFINE_integer("num_steps", 50_000, "Training steps.", lower_bound=1)
  flags.DEFINE_float("seconds", 1.0, "Between two looks at the memory.", lower_bound=0.01)


def main(_) -> None:
  """Runs, prints the table and writes memory.png into the workdir."""
  workdir, start = pathlib.Path(flags.FLAGS.workdir), time.monotonic()
  looks = watched(tiny_config(flags.FLAGS.num_steps), workdir, flags.FLAGS.seconds)
  draw(looks, workdir / "memory.png")
  print(report(looks, time.monotonic() - start))
  print(f"Picture: {workdir / 'memory.png'}")


if __name__ == "__main__":
  define_flags()
  app.run(main)
