"""The state that a run starts from: the newest checkpoint that is whole, or the first state."""

from collections.abc import Mapping
import dataclasses
import sys
from typing import Any

import jax
import ml_collections
import optax

from composeret_jax.distributed import data_mesh
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.models.variables import variables_of
from composeret_jax.pretrained.image_encoder import load_pretrained
from composeret_jax.pretrained.resnet import FIELD
from composeret_jax.pretrained.towers.tower_folder import TEXT_FIELD
from composeret_jax.train_step.state import create_state, kept_on, state_of, TrainState
from composeret_jax.training.checkpoints import DamagedCheckpointError
from composeret_jax.training.run import Data, Run
from composeret_jax.training.workdir.chosen_step import chosen_step
from composeret_jax.training.workdir.starting_point import start_from_another_run
from data_pipelines.input_error import InputError

MINED_OF = "images of train"  # in the identity of a data set: what the rows of hard negatives count


def trained_state(run: Run, checkpoint_step: str = "") -> TrainState:
  """The state of the newest checkpoint that is whole, of the `best` by the run's `best_metric`, or of a step.

  Raises InputError as `newest_state`, and when there is no such checkpoint or it is damaged.
  """
  if not checkpoint_step:
    return newest_state(run)
  start = first_state(run)
  try:
    return _restore(run, chosen_step(run.checkpoints, checkpoint_step), start)
  except DamagedCheckpointError as error:
    raise InputError(str(error)) from error


def newest_state(run: Run) -> TrainState:
  """The state of the newest checkpoint that is whole, or the first state where there is no checkpoint.

  The first state has the parameters of the new model, of its pretrained files, or of `config.init_from`.
  Over other training images hard negatives are to be mined again before the next step. Raises InputError when they are
  not due then, when the checkpoint was made from other words or other files of weights, when all checkpoints are
  damaged, and when the newest one is damaged and `config.on_bad_checkpoint` is "stop".
  """
  steps = run.checkpoints.steps()
  if not steps:
    read_first_parameters(run.data, run.model)
  start = first_state(run)
  for step in steps:
    try:
      return _restore(run, step, start)
    except DamagedCheckpointError as error:
      if run.config.on_bad_checkpoint == "stop" or step == steps[-1]:
        raise InputError(str(error)) from error
      print(f"{error}. Going back to the one before it.", file=sys.stderr)
  return start


def read_first_parameters(data: Data, model: RetrievalModel) -> None:
  """Fills the model from its pretrained files and from `config.init_from`, where the configuration names these.

  Raises InputError when they cannot be used.
  """
  image_encoder = data.config.model.image_encoder
  if image_encoder.pretrained and not image_encoder.frozen:
    load_pretrained(image_encoder, model.image_encoder.trunk)
  if data.config.init_from:
    start_from_another_run(model, data.config, data.texts.made_with.get("words"))


def first_state(run: Run) -> TrainState:
  """The state before the first step, of the model's current variables, as `run.config.parallel_state` keeps it."""
  return placed_first_state(run.config, run.model, run.optimizer, run.miner.nothing_mined() if run.miner else {})


def placed_first_state(
  config: ml_collections.ConfigDict,
  model: RetrievalModel,
  optimizer: optax.GradientTransformation,
  negatives: Mapping[str, jax.Array],
) -> TrainState:
  """`first_state` of a whole configuration, with the hard negatives `negatives`, {} for none."""
  split = config.parallel_state == "split"

  def state(variables, negatives):
    # Within jit, so that no device ever has the whole of a split optimiser's state.
    first = state_of(variables, optimizer, config.seed)
    return kept_on(data_mesh(), dataclasses.replace(first, negatives=negatives), split=split)

  return jax.jit(state)(variables_of(model), negatives)


def _restore(run: Run, step: int, like: TrainState) -> TrainState:
  run.checkpoints.check(step)
  saved = run.checkpoints.made_with(step)
  check_same_sources(saved.sources, run.sources, saved.where)
  if not run.miner or not saved.data or saved.data.get(MINED_OF) == run.dataset.identity.get(MINED_OF):
    return run.checkpoints.restore(step, like)
  if not run.miner.is_due(step):
    raise InputError(
      f"{saved.where} has hard negatives of other training images, and at step {step} none are mined "
      f"(config.hard_negatives.every_steps={run.miner.every_steps}): start a new --workdir with "
      f"config.init_from={run.workdir}"
    )
  restored = run.checkpoints.restore(step, dataclasses.replace(like, negatives={}))
  return dataclasses.replace(restored, negatives=like.negatives)


def model_state(run: Run) -> TrainState:
  """The state before the first step, of the model's current variables."""
  state = create_state(run.model, run.optimizer, run.config.seed)
  return dataclasses.replace(state, negatives=run.miner.nothing_mined()) if run.miner else state


def check_same_sources(saved: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
  """Raises InputError when the checkpoint at `where` was made from other words, or from other files of an encoder."""
  if saved.get("words") != now.get("words"):
    raise InputError(f"{where} was trained on other texts: the words of the data set have changed")
  old, new = saved.get("sha256", {}), now.get("sha256", {})
  changed = [name for name in sorted(old | new) if old.get(name) != new.get(name)]
  if changed:
    raise InputError(
      f"{where} was trained with another text encoder: {', '.join(changed)} of config.{TEXT_FIELD}={now['path']} is "
      f"not what config.{TEXT_FIELD}={saved['path']} held then"
    )
  if saved.get("trunk_sha256") != now.get("trunk_sha256"):
    raise InputError(f"{where} was trained on another trunk than config.{FIELD} holds now")
