"""The loop over the steps of a run."""

from collections.abc import Callable
import functools

import jax

from composeret_jax.distributed import data_mesh
from composeret_jax.train_step.parallel import Parallel
from composeret_jax.train_step.state import evaluated_variables, TrainState
from composeret_jax.train_step.step import make_train_step
from composeret_jax.training.batches import resident_images, train_batches
from composeret_jax.training.preemption import Preemption
from composeret_jax.training.profiling import flops_per_step, new_speed, parse_steps, Speed, StepTrace
from composeret_jax.training.reports.compile_times import announcement, remember
from composeret_jax.training.reports.evaluations import measure, Measured, show_measured
from composeret_jax.training.reports.finite_watch import FiniteWatch
from composeret_jax.training.reports.optimisation import optimisation_metrics
from composeret_jax.training.reports.reporter import NoReporter, open_reporter, Reporter
from composeret_jax.training.reports.terminal import progress_bar, say, show_progress
from composeret_jax.training.run import Run
from data_pipelines.input_error import InputError


def run_steps(run: Run, state: TrainState, preemption: Preemption, heading: str) -> None:
  """Trains from `state` to `num_train_steps`; reports, evaluates and saves on the way; shows the last evaluation."""
  config, first_step, last_step = run.config, int(state.step), run.config.num_train_steps
  steps_per_call = config.train.steps_per_call
  _open_checkpoints(run, first_step)
  parallel = Parallel(config.parallel, data_mesh(), steps_per_call, config.parallel_state == "split")
  images = resident_images(run.dataset, config, parallel.mesh)
  batches = train_batches(run.data, parallel, first_step, as_rows=images is not None)
  speed = new_speed(config)
  train_steps = _compiled(run, parallel, speed)
  trace = StepTrace(parse_steps(config.profile_steps), run.workdir / "profile")
  watch = FiniteWatch(run.checkpoints.describe_latest, config.train.max_skipped_in_a_row)
  with (
    run.checkpoints as checkpoints,
    open_reporter(run.workdir, config, first_step, heading) as reporter,
    trace,
    progress_bar(first_step, last_step) as progress,
  ):
    say(announcement(config))
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
        _report(run, reporter, step, losses, state, speed)
      if step % config.eval_every_steps == 0 or step == last_step:
        watch.check()
        measured = _evaluate(run, reporter, step, state, speed)
        checkpoints.save(step, state, measured[0].evaluation.metrics)
      elif step % config.checkpoint_every_steps == 0 or stopping:
        watch.check()
        checkpoints.save(step, state)
      if stopping:
        break
  if stopping:
    preemption.stop(step)
  show_measured(last_step, measured)


def _open_checkpoints(run: Run, first_step: int) -> None:
  """Describes the run for its checkpoints, and sets aside those beyond the first step.

  Raises InputError where calls of several steps cannot start at `first_step`.
  """
  steps_per_call = run.config.train.steps_per_call
  if first_step % steps_per_call:
    expected = f"a divisor of {first_step}, the step of the newest checkpoint in {run.workdir}"
    raise InputError(f"config.train.steps_per_call is {steps_per_call}, expected {expected}")
  _ = run.checkpoints.description  # which takes a while where all images have to be read
  run.checkpoints.set_aside([step for step in run.checkpoints.steps() if step > first_step])


def _compiled(run: Run, parallel: Parallel, speed: Speed) -> Callable:
  """The training step, compiled when it is first called and watched by `speed`."""
  step_fn = make_train_step(run.model, run.optimizer, run.config, parallel)
  program = parallel.compile(step_fn)
  flops = functools.partial(flops_per_step, run.model, run.optimizer, run.config, parallel, program)
  return speed.watched(program, flops)


def _evaluate(run: Run, reporter: Reporter | NoReporter, step: int, state: TrainState, speed: Speed) -> list[Measured]:
  """Measures and reports the state, while the clock of steps stands still."""
  with speed.paused():
    measured = measure(run, evaluated_variables(state), at_end=step == run.config.num_train_steps)
  reporter.evaluations(step, measured)
  return measured


def _report(
  run: Run, reporter: Reporter | NoReporter, step: int, losses: dict[str, float], state: TrainState, speed: Speed
) -> None:
  """Reports losses, learning rate, radius and speed; keeps the time that the step took to compile."""
  found = losses | optimisation_metrics(run.config, step, losses, state.variables.params)
  measured_speed = speed.report()
  reporter.scalars(step, {f"train/{name}": value for name, value in found.items()} | measured_speed)
  if seconds := measured_speed.get("speed/compile_seconds"):
    remember(run.config, seconds)
