"""Training, from the newest checkpoint or from the start; and evaluation of what was trained."""

from collections.abc import Callable, Iterator, Mapping
import dataclasses
import functools
import pathlib
import sys
from typing import Any

import jax
from jaxtyping import Shaped
import ml_collections

from composeret_jax.checkpoints import Checkpoints, DamagedCheckpointError
from composeret_jax.config_check import check_config
from composeret_jax.devices import data_mesh, on_every_device
from composeret_jax.ema import evaluation_params
from composeret_jax.evaluation import Evaluation, Evaluator
from composeret_jax.finite import FiniteWatch
from composeret_jax.flops import program_flops
from composeret_jax.hard_negatives import NegativesMiner
from composeret_jax.image_features import with_features
from composeret_jax.image_trunks import check_image_trunk, check_same_trunk, load_pretrained, trunk_made_with
from composeret_jax.model import build_model
from composeret_jax.objective import BIASED_LOSSES
from composeret_jax.optimizers import build_optimizer
from composeret_jax.parallel import Parallel
from composeret_jax.peak_flops import peak_flops
from composeret_jax.preemption import Preemption
from composeret_jax.processes import first_one_first, is_first
from composeret_jax.profiling import parse_steps, StepTrace
from composeret_jax.reporting import open_reporter, progress_bar, show_evaluation, show_progress
from composeret_jax.resident import resident_images
from composeret_jax.run_config import check_same_run, on_another_dataset
from composeret_jax.speed import Speed
from composeret_jax.texts import check_same_texts, open_texts
from composeret_jax.train_step import create_state, make_train_step, TrainState
from composeret_jax.workdir_lock import locked
from data_pipelines.builders.prepare import BUILDERS
from data_pipelines.datasets import num_loaders, open_dataset
from data_pipelines.input_error import InputError
from data_pipelines.loader import LoadRows, LoadTriplets, to_devices, train_batches, TripletStream
from data_pipelines.prepared_folder import prepared_folder


class Run:
  """What training and evaluation share: data, model, evaluator and checkpoints, as a configuration describes them."""

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    *,
    split: str = "test",
    trained_with: tuple[ml_collections.ConfigDict, Mapping[str, Any]] | None = None,
  ):
    """`split` has the queries to evaluate; `trained_with` is what checkpoints of another data set were made with.

    Raises InputError for a configuration or data that cannot be used.
    """
    check_config(config, jax.device_count())
    check_image_trunk(config)
    self.config = config
    self._trained_config, trained_texts = trained_with or (config, {})
    self.workdir = workdir
    with first_one_first("prepare"):
      self.dataset = open_dataset(config.data, config.text_query, split)
      self.dataset.open_all_pixels()
    self.dataset = with_features(self.dataset, config) if config.model.image_encoder.frozen else self.dataset
    self.texts = open_texts(
      config.model.text_encoder,
      self.dataset.train_triplets.texts(),
      self.dataset.queries.texts,
      config.eval.batch_size,
      words=trained_texts.get("words"),
      kept_in=prepared_folder(config.data.prepared_dir) / "text_features",
    )
    has_bias = config.loss in BIASED_LOSSES
    self.model = build_model(
      config.model, self.texts.build_encoder, config.seed, config.data.image_size, has_bias=has_bias
    )
    self.optimizer = build_optimizer(config)
    self.evaluator = Evaluator(self.model, self.dataset, self.texts.reader, config)
    self.made_with = self.texts.made_with | trunk_made_with(config)
    self.checkpoints = Checkpoints(workdir, config, self.made_with)
    self.mesh = data_mesh()
    self.parallel = Parallel(config.parallel, self.mesh, config.train.steps_per_call)
    mines = config.hard_negatives.every_steps > 0
    self.miner = NegativesMiner(self.model, self.dataset.train_images.labels, config) if mines else None

  def newest_state(self) -> TrainState:
    """The state of the newest checkpoint that is whole, or the first state where there is none.

    Raises InputError when the checkpoint is another run's, when all are damaged, and when the newest one is and
    `config.on_bad_checkpoint` is "stop".
    """
    steps, start = self.checkpoints.steps(), self._first_state()
    for step in steps:
      try:
        return self._restored(step, start)
      except DamagedCheckpointError as error:
        if self.config.on_bad_checkpoint == "stop" or step == steps[-1]:
          raise InputError(str(error)) from error
        print(f"{error}. Going back to the one before it.", file=sys.stderr)
    return start

  def _first_state(self) -> TrainState:
    image_encoder = self.config.model.image_encoder
    if self.checkpoints.latest_step() is None and image_encoder.pretrained and not image_encoder.frozen:
      load_pretrained(image_encoder, self.model.image_encoder.trunk)
    return jax.jit(lambda state: state, out_shardings=on_every_device(self.mesh))(self.create_state())

  def create_state(self) -> TrainState:
    """The state before the first step, of the model as it is."""
    state = create_state(self.model, self.optimizer, self.config.seed)
    return dataclasses.replace(state, negatives=self.miner.nothing_mined()) if self.miner else state

  def _restored(self, step: int, start: TrainState) -> TrainState:
    self.checkpoints.check(step)
    config, made_with = self.checkpoints.made_with(step)
    where = str(self.checkpoints.path(step))
    check_same_run(config, self._trained_config, where)
    check_same_texts(made_with, self.made_with, where)
    check_same_trunk(made_with, self.made_with, where)
    return self.checkpoints.restore(step, start)

  def trained_state(self) -> TrainState:
    """The newest checkpoint's state; raises InputError when there is none, or when it is another run's."""
    if self.checkpoints.latest_step() is None:
      raise InputError(f"--workdir={self.workdir} has no checkpoint")
    return self.newest_state()

  def evaluate(self, state: TrainState) -> Evaluation:
    """Metrics of the state's parameters, or of their moving average where the optimiser keeps one."""
    params = evaluation_params(state.params, state.optimizer_state)
    return self.evaluator(params, state.batch_stats, state.frozen)

  def train_batches(self, first_step: int) -> Iterator[Mapping[str, jax.Array]]:
    """The batches of the steps after `first_step`, on the devices, `steps_per_call` at a time."""
    rows = LoadRows(TripletStream(self.dataset.train_triplets, self.config.seed), self.texts.reader)
    resident = self.images is not None
    batches = train_batches(
      rows if resident else LoadTriplets(rows, self.dataset.train_pixels),
      batch_size=self.config.batch_size,
      first_step=first_step,
      num_steps=self.config.num_train_steps,
      num_workers=num_loaders(self.config.data),
      process_index=jax.process_index(),
      num_processes=jax.process_count(),
    )
    return to_devices(batches, self.parallel.place, steps_per_call=self.parallel.steps_per_call)

  @functools.cached_property
  def images(self) -> Shaped[jax.Array, "num_images ..."] | None:
    """All training images, or their features, on every device, where the configuration asks for it and they fit."""
    data = self.config.data
    if data.placement != "device":
      return None
    return resident_images(self.dataset.train_pixels, self.mesh, data, required=self.miner is not None)

  def train_steps(self) -> Callable:
    """The compiled steps: (state, batches, images) -> (state, losses)."""
    step = make_train_step(
      self.model, self.optimizer, self.config, axis_name=self.parallel.axis_name, num_shards=self.parallel.num_shards
    )
    return self.parallel.compile(step)

  def check_can_go_on_from(self, step: int) -> None:
    """Raises InputError for a step that a call would begin before and end behind."""
    steps_per_call = self.config.train.steps_per_call
    if step % steps_per_call:
      raise InputError(
        f"config.train.steps_per_call is {steps_per_call}, expected a divisor of {step}, the step of the newest "
        f"checkpoint in {self.workdir}"
      )

  def new_speed(self) -> Speed:
    """Measures the speed of these steps from now on."""
    config = self.config
    images_per_query = 2 + (config.hard_negatives.num if self.miner else 0)
    peak = peak_flops(config.model.image_encoder.dtype, config.peak_flops)
    return Speed(images_per_query * config.batch_size, peak, config.train.steps_per_call)

  def flops_per_step(self, state: TrainState, batches: Mapping[str, jax.Array], images: jax.Array | None) -> float:
    """One step's operations on the global batch; what microbatches compute a second time is not counted."""
    config = self.config.copy_and_resolve_references()
    config.train.num_microbatches = 1
    step = make_train_step(self.model, self.optimizer, config)
    return program_flops(step, state, self.parallel.one_batch(batches, config.batch_size), images)


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


def trained_run(config: ml_collections.ConfigDict, workdir: pathlib.Path, split: str = "test") -> Run:
  """The run of `workdir` on a split of the data set of `config`, which may be another than it was trained on.

  Raises InputError for a configuration or data that cannot be used.
  """
  check_config(config, jax.device_count())
  checkpoints = Checkpoints(workdir, config, {})
  trained_with = checkpoints.newest_made_with()
  if trained_with is None or trained_with[0].data.dataset == config.data.dataset:
    return Run(config, workdir, split=split)
  if is_first():
    print(f"{workdir} was trained on {trained_with[0].data.dataset}, and is evaluated on {config.data.dataset}.")
  return Run(on_another_dataset(trained_with[0], config, str(workdir)), workdir, split=split, trained_with=trained_with)


def evaluate(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Prints the recalls of the newest checkpoint in `workdir`, on the data set of `config`.

  Raises InputError when there is no checkpoint.
  """
  run = trained_run(config, workdir)
  state = run.trained_state()
  show_evaluation(int(state.step), run.evaluate(state), run.dataset)
