"""Trains runs of one program one after the other: data, compiled step and evaluator are opened once."""

from collections.abc import Sequence
import dataclasses
import pathlib
import threading

from absl import flags
import jax
import ml_collections
from ml_collections import config_flags

from composeret_jax.distributed import data_mesh
from composeret_jax.train_step.parallel import Parallel
from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.train_step.step import make_train_step
from composeret_jax.training.batches import resident_images, train_batches
from composeret_jax.training.config.check import check_config
from composeret_jax.training.model import build_model
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run, Run

_ONE_READS = threading.Lock()  # configurations are Python modules: two threads would load them at once


def read_config(arguments: Sequence[str]) -> ml_collections.ConfigDict:
  """The configuration that launch.py would read from `--config=...` and `--config.NAME=...`."""
  values, argv = flags.FlagValues(), ["launch.py", *arguments]
  config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
  with _ONE_READS:
    values(argv)
  return values.config


class Trained:
  """The parts that runs of one program share."""

  def __init__(self, arguments: Sequence[str], workdir: pathlib.Path):
    """`arguments` may come from any of the runs; nothing is kept in `workdir`. Raises InputError as launch.py does."""
    config = read_config(arguments)
    check_config(config, jax.device_count())
    self._run = open_run(config, workdir)
    self._parallel = Parallel(config.parallel, data_mesh(), config.train.steps_per_call)
    self._images = resident_images(self._run.dataset, config, self._parallel.mesh)
    step = make_train_step(self._run.model, self._run.optimizer, config, self._parallel)
    self._steps = self._parallel.compile(step)

  def metrics(self, arguments: Sequence[str], seed: int) -> dict[str, float]:
    """Trains to the end by the run's own order of batches and first weights, and evaluates.

    The metrics are of the test split and, under `validation/`, of what the configuration holds out.
    """
    run = self._with(read_config(arguments), seed)
    state, per_call = newest_state(run), self._parallel.steps_per_call
    batches = train_batches(run.data, self._parallel, 0, as_rows=self._images is not None)
    for step in range(0, run.config.num_train_steps, per_call):
      if run.miner and run.miner.is_due(step):
        state = run.miner.mine(state, self._images)
      state, _ = jax.block_until_ready(self._steps(state, next(batches), self._images))  # no queue before others
    variables = evaluated_variables(state)
    held_out = run.validator(variables).metrics if run.validator else {}
    return {**run.evaluator(variables).metrics, **{f"validation/{name}": held_out[name] for name in held_out}}

  def _with(self, config: ml_collections.ConfigDict, seed: int) -> Run:
    config.seed = seed
    model = build_model(
      config.model,
      self._run.texts.build_encoder,
      seed,
      config.data.image_size,
      has_bias=self._run.model.bias is not None,
    )
    return dataclasses.replace(self._run, config=config, model=model)
