"""Trains, and kills itself in the middle: `python -m tests.fakes.killed_at_step CONFIG WORKDIR STEP`.

CONFIG is a JSON file of a whole configuration. The end comes when the losses of STEP are taken and the checkpoint
before it is on the disk.
"""

import json
import os
import pathlib
import signal
import sys
import time

from composeret_jax.training.config.same_run import config_from_json
from composeret_jax.training.reports.finite_watch import FiniteWatch
from composeret_jax.training.train import train


def end_at(last: int, checkpoint: pathlib.Path) -> None:
  """Ends the process at the step `last`, when the checkpoint is there."""
  take = FiniteWatch.take

  def taken(self, step, losses):
    if step == last:
      while not checkpoint.exists():
        time.sleep(0.01)
      os.kill(os.getpid(), signal.SIGKILL)
    take(self, step, losses)

  FiniteWatch.take = taken


if __name__ == "__main__":
  config = config_from_json(json.loads(pathlib.Path(sys.argv[1]).read_text()))
  workdir, step = pathlib.Path(sys.argv[2]), int(sys.argv[3])
  saved = step // config.checkpoint_every_steps * config.checkpoint_every_steps
  end_at(step, workdir / "checkpoints" / str(saved))
  train(config, workdir)
