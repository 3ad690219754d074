"""Training, from the newest checkpoint or from the start; and evaluation of what was trained."""

import functools
import pathlib

import jax
import ml_collections

from composeret_jax.distributed import data_mesh
from composeret_jax.train_step.parallel import Parallel
from composeret_jax.train_step.state import evaluated_variables, TrainState
from composeret_jax.train_step.step import make_train_step
from composeret_jax.training.batches import resident_images, train_batches
from composeret_jax.training.config.check import check_config
from composeret_jax.training.evaluations import measure, show_measured
from composeret_jax.training.preemption import Preemption
from composeret_jax.training.profiling import flops_per_step, new_speed, parse_steps, StepTrace
from composeret_jax.training.reporting import FiniteWatch, open_reporter, progress_bar, say, show_progress
from composeret_jax.training.resume import newest_state, trained_state
from composeret_jax.training.run import open_run, open_trained_run, Run
from composeret_jax.training.workdir.lock import locked
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
    run = open_run(config, workdir)
    state = newest_state(run)
    step, is_new = int(state.step), run.checkpoints.latest_step() is None
    if step < config.num_train_steps:
      _run_steps(run, state, preemption)
      return
    if not is_new:
      say(f"{workdir} has reached config.num_train_steps={config.num_train_steps}; raise it to go on.")
    measured = measure(run, evaluated_variables(state), at_end=True)
    if is_new:  # not trained at all: saved and reported as of step 0
      with run.checkpoints as checkpoints, open_reporter(workdir, config, step) as reporter:
        reporter.evaluations(step, measured)
        checkpoints.save(step, state, measured[0].evaluation.metrics)
    show_measured(step, measured)


def _run_steps(run: Run, state: TrainState, preemption: Preemption) -> None:
  """Trains from `state` to `num_train_steps`; reports, evaluates and saves on the way; shows the last evaluation."""
  config, first_step, last_step = run.config, int(state.step), run.config.num_train_steps
  steps_per_call = config.train.steps_per_call
  if first_step % steps_per_call:
    expected = f"a divisor of {first_step}, the step of the newest checkpoint in {run.workdir}"
    raise InputError(f"config.train.steps_per_call is {steps_per_call}, expected {expected}")
  _ = run.checkpoints.description  # which takes a while where all images have to be read
  run.checkpoints.set_aside([step for step in run.checkpoints.steps() if step > first_step])

  parallel = Parallel(config.parallel, data_mesh(), steps_per_call, config.parallel_state == "split")
  images = resident_images(run.dataset, config, parallel.mesh)
  batches = train_batches(run, parallel, first_step, as_rows=images is not None)

  step_fn = make_train_step(run.model, run.optimizer, config, parallel)
  speed = new_speed(config)
  flops = functools.partial(flops_per_step, run.model, run.optimizer, config, parallel)
  train_steps = speed.watched(parallel.compile(step_fn), flops)
  trace = StepTrace(parse_steps(config.profile_steps), run.workdir / "profile")
  watch = FiniteWatch(run.checkpoints.describe_latest, config.train.max_skipped_in_a_row)

  with run.checkpoints as checkpoints, open_reporter(run.workdir, config, first_step) as reporter, trace:
    say("Compiling the train step: the first step takes longer than the others.")
    progress = progress_bar(first_step, last_step)
    preemption.wait_for_steps()
    for step in range(first_step + steps_per_call, last_step + 1, steps_per_call):
      with speed.waiting():
        batch = next(batches)
      if run.miner and run.miner.is_due(step - steps_per_call):
        watch.check()
        with speed.mining():
          state = run.miner.mine(state, images)
      trace.before(step)
      with jax.transfer_guard("disallow"):
        state, losses = train_steps(state, batch, images)
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
          measured = measure(run, evaluated_variables(state), at_end=step == last_step)
        reporter.evaluations(step, measured)
        checkpoints.save(step, state, measured[0].evaluation.metrics)
      elif step % config.checkpoint_every_steps == 0 or stopping:
        watch.check()
        checkpoints.save(step, state)
      if stopping:
        break
    progress.close()
  if stopping:
    preemption.stop(step)
  show_measured(last_step, measured)


def evaluate(config: ml_collections.ConfigDict, workdir: pathlib.Path, checkpoint_step: str = "") -> None:
  """Prints the recalls of a checkpoint in `workdir`, which `trained_state` chooses, on the data set of `config`.

  Raises InputError when there is no such checkpoint.
  """
  run = open_trained_run(config, workdir)
  state = trained_state(run, checkpoint_step)
  show_measured(int(state.step), measure(run, evaluated_variables(state), at_end=True))
