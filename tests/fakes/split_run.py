"""A tiny run to a step, on this process's devices, whose state is split or not; exported where a bundle is named.

python -m tests.fakes.split_run RAW PREPARED WORKDIR NUM_STEPS PARALLEL_STATE [BUNDLE]
"""

import pathlib
import sys

import jax

from composeret_jax import distributed
from composeret_jax.export.bundle import export
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from composeret_jax.training.train import train
from tests.fakes import tiny


def main(raw: str, prepared: str, workdir: str, num_steps: str, parallel_state: str, bundle: str = "") -> None:
  """Trains, shows how many arrays of the state that is restored are split, and exports."""
  distributed.MIN_SPLIT_SIZE = 64  # tiny parameters are split too
  config = tiny.config(pathlib.Path(raw), pathlib.Path(prepared))
  config.num_train_steps, config.parallel_state, config.ema_decay = int(num_steps), parallel_state, 0.9
  config.learning_rate = 0.001
  train(config, pathlib.Path(workdir))
  state = newest_state(open_run(config, pathlib.Path(workdir)))
  print("SPLIT", sum(not leaf.is_fully_replicated for leaf in jax.tree.leaves(state)))
  if bundle:
    export(config, pathlib.Path(workdir), pathlib.Path(bundle))


if __name__ == "__main__":
  main(*sys.argv[1:])
