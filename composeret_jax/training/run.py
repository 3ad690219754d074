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

from composeret_jax.distributed import data_mesh, first_one_first, is_first, on_every_device
from composeret_jax.evaluation.evaluator import Evaluation, Evaluator
from composeret_jax.pretrained.image_encoder import check_image_trunk, load_pretrained, trunk_made_with, with_features
from composeret_jax.pretrained.text_encoder import open_texts
from composeret_jax.train_step.losses import LOSSES
from composeret_jax.train_step.optimizers import build_optimizer
from composeret_jax.train_step.parallel import Parallel
from composeret_jax.train_step.state import create_state, evaluated_variables, TrainState
from composeret_jax.train_step.step import make_train_step
from composeret_jax.training.batches import resident_images
from composeret_jax.training.checkpoints import Checkpoints, DamagedCheckpointError
from composeret_jax.training.config.check import check_config
from composeret_jax.training.hard_negatives import NegativesMiner
from composeret_jax.training.model import build_model
from composeret_jax.training.profiling import peak_flops, program_flops, Speed
from composeret_jax.training.resume import check_same_run, check_same_texts, check_same_trunk, on_another_dataset
from data_pipelines.dataset import num_loaders, open_dataset
from data_pipelines.input_error import InputError
from data_pipelines.loader import LoadRows, LoadTriplets, to_devices, train_batches, TripletStream
from data_pipelines.paths import prepared_folder


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
    has_bias = LOSSES[config.loss].has_bias
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
    return self.evaluator(evaluated_variables(state))

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
