"""Training, from the newest checkpoint or from the start; and evaluation of what was trained."""

import os

import jax
import ml_collections

from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training.config.check import check_config
from composeret_jax.training.loop import run_steps
from composeret_jax.training.preemption import Preemption
from composeret_jax.training.reports.evaluations import measure, show_measured, write_measured
from composeret_jax.training.reports.heading import heading
from composeret_jax.training.reports.reporter import open_reporter
from composeret_jax.training.reports.terminal import say
from composeret_jax.training.reports.trackers import check_tracker
from composeret_jax.training.resume import newest_state, trained_state
from composeret_jax.training.run import open_run, open_trained_run
from composeret_jax.training.workdir.lock import locked
from data_pipelines.datasets.prepare import BUILDERS
from data_pipelines.input_error import InputError
from data_pipelines.paths import path_or_address


def train(config: ml_collections.ConfigDict, workdir: str | os.PathLike[str]) -> None:
  """Trains from the newest checkpoint in `workdir`, or from the start, to `num_train_steps`; evaluates and reports.

  With no steps the untrained model is evaluated and saved. Asked by a signal to end, it saves a checkpoint and exits
  (preemption.py). Raises InputError for a configuration, data or a workdir that cannot be used, NonFiniteError when
  losses or features are not finite.
  """
  place = path_or_address(workdir, "workdir")
  check_config(config, jax.device_count())  # before there is a workdir
  check_tracker(config)
  if config.num_train_steps and "train" not in BUILDERS[config.data.dataset].IMAGE_SPLITS:
    dataset = config.data.dataset
    raise InputError(f"config.num_train_steps is {config.num_train_steps}, expected 0: {dataset} has no training data")
  with Preemption(config.preemption_grace_seconds) as preemption, locked(place):
    run = open_run(config, place)
    state = newest_state(run)
    step, is_new = int(state.step), run.checkpoints.latest_step() is None
    introduction = heading(run, state)
    say(introduction)
    if step < config.num_train_steps:
      run_steps(run, state, preemption, introduction)
      return
    if not is_new:
      say(f"{workdir} has reached config.num_train_steps={config.num_train_steps}; raise it to go on.")
    measured = measure(run, evaluated_variables(state), at_end=True)
    if is_new:  # not trained at all: saved and reported as of step 0
      with run.checkpoints as checkpoints, open_reporter(place, config, step, introduction) as reporter:
        reporter.evaluations(step, measured)
        checkpoints.save(step, state, measured[0].evaluation.metrics)
    show_measured(step, measured)


def evaluate(config: ml_collections.ConfigDict, workdir: str | os.PathLike[str], checkpoint_step: str = "") -> None:
  """Prints the recalls of a checkpoint in `workdir`, which `trained_state` chooses, on the data set of `config`.

  They are in the workdir's eval.json, too.

  Raises InputError when there is no such checkpoint.
  """
  run = open_trained_run(config, path_or_address(workdir, "workdir"))
  state = trained_state(run, checkpoint_step)
  measured = measure(run, evaluated_variables(state), at_end=True)
  show_measured(int(state.step), measured)
  write_measured(run, int(state.step), measured)
