"""Training, from the newest checkpoint or from the start; and evaluation of what was trained."""

import pathlib

import jax
import ml_collections

from composeret_jax.distributed import is_first
from composeret_jax.evaluation.report import show_evaluation
from composeret_jax.train_step.state import TrainState
from composeret_jax.training.config.check import check_config
from composeret_jax.training.preemption import Preemption
from composeret_jax.training.profiling import parse_steps, StepTrace
from composeret_jax.training.reporting import FiniteWatch, open_reporter, progress_bar, show_progress
from composeret_jax.training.run import Run, trained_run
from composeret_jax.training.workdir_lock import locked
from data_pipelines.datasets.prepare import BUILDERS
from data_pipelines.input_error import InputError


def train(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Trains from the newest checkpoint in `workdir`, or from the start, to `num_train_steps`; evaluates and reports.

  No steps at all evaluate and save the model as it is built. Asked by a signal to end, it saves a checkpoint and exits
  (preemption.py). Raises InputError for a configuration, data or a workdir that cannot be used, NonFiniteError when
  losses or features are not finite.
  """
  check_config(config, jax.device_count())  # before there is a workdir
  if config.num_train_steps and "train" not in BUILDERS[config.data.dataset].IMAGE_SPLITS:
    dataset = config.data.dataset
    raise InputError(f"config.num_train_steps is {config.num_train_steps}, expected 0: {dataset} has no training data")
  with Preemption(config.preemption_grace_seconds) as preemption, locked(workdir):
    _train(Run(config, workdir), preemption)


def _train(run: Run, preemption: Preemption) -> None:
  config, workdir = run.config, run.workdir
  state = run.newest_state()
  first_step, last_step = int(state.step), config.num_train_steps
  if first_step >= last_step:
    _without_steps(run, state)
    return

  run.check_can_go_on_from(first_step)
  run.checkpoints.set_aside([step for step in run.checkpoints.steps() if step > first_step])
  batches, steps_per_call, speed = run.train_batches(first_step), config.train.steps_per_call, run.new_speed()
  train_steps = speed.watched(run.train_steps(), run.flops_per_step)
  trace = StepTrace(parse_steps(config.profile_steps), workdir / "profile")
  watch = FiniteWatch(run.checkpoints.describe_latest, config.train.max_skipped_in_a_row)
  with run.checkpoints as checkpoints, open_reporter(workdir, config, first_step) as reporter, trace:
    progress = progress_bar(first_step, last_step)
    preemption.wait_for_steps()
    for step in range(first_step + steps_per_call, last_step + 1, steps_per_call):
      with speed.waiting():
        batch = next(batches)
      if run.miner and run.miner.is_due(step - steps_per_call):
        watch.check()
        with speed.mining():
          state = run.miner.mine(state, run.images)
      trace.before(step)
      with jax.transfer_guard("disallow"):
        state, losses = train_steps(state, batch, run.images)
      trace.after(step, losses)
      watch.take(step, losses)
      progress.update(steps_per_call)
      stopping = preemption.asked() and step < last_step
      if step % config.log_every_steps == 0 or step == last_step:
        losses = watch.check()
        show_progress(progress, losses, speed.images_per_second())
        reporter.scalars(step, {f"train/{name}": value for name, value in losses.items()} | speed.report())
      if step % config.eval_every_steps == 0 or step == last_step:
        watch.check()
        with speed.paused():
          evaluation = run.evaluate(state)
        reporter.evaluation(step, evaluation, run.dataset)
        checkpoints.save(step, state, evaluation.metrics)
      elif step % config.checkpoint_every_steps == 0 or stopping:
        watch.check()
        checkpoints.save(step, state)
      if stopping:
        break
    progress.close()
  if stopping:
    preemption.stop(step)
  show_evaluation(last_step, evaluation, run.dataset)


def _without_steps(run: Run, state: TrainState) -> None:
  """Evaluates what is there; a model that is not trained at all is saved and reported as of step 0."""
  step, is_new = int(state.step), run.checkpoints.latest_step() is None
  if is_first() and not is_new:
    print(f"{run.workdir} is trained already.")
  evaluation = run.evaluate(state)
  if is_new:
    with run.checkpoints as checkpoints, open_reporter(run.workdir, run.config, step) as reporter:
      reporter.evaluation(step, evaluation, run.dataset)
      checkpoints.save(step, state, evaluation.metrics)
  show_evaluation(step, evaluation, run.dataset)


def evaluate(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Prints the recalls of the newest checkpoint in `workdir`, on the data set of `config`.

  Raises InputError when there is no checkpoint.
  """
  run = trained_run(config, workdir)
  state = run.trained_state()
  show_evaluation(int(state.step), run.evaluate(state), run.dataset)
