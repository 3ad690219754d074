"""Turns a checkpoint of the original programs into the first checkpoint of a run."""

import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import optax

from composeret_jax.models.encoders.lstm import LstmTextEncoder
from composeret_jax.pretrained import original
from composeret_jax.pretrained.inversion import phi_slots, read_phi
from composeret_jax.pretrained.magic_lens import model_slots as magic_lens_slots
from composeret_jax.pretrained.magic_lens import read_magic_lens
from composeret_jax.pretrained.original import OriginalCheckpoint, read_checkpoint
from composeret_jax.pretrained.slots import fill
from composeret_jax.training.config.check import check_config
from composeret_jax.training.model import placeholder_of
from composeret_jax.training.reports.reporter import write_config
from composeret_jax.training.resume import model_state
from composeret_jax.training.run import open_run, Run
from composeret_jax.training.workdir.lock import locked
from data_pipelines.buckets.addresses import AnyPath
from data_pipelines.input_error import InputError

EMBEDDING = "text_model.embedding_layer.weight"


def import_checkpoint(config: ml_collections.ConfigDict, workdir: AnyPath, path: pathlib.Path) -> None:
  """Saves the original checkpoint at `path` in `workdir`, at its own step, ready to be evaluated and trained further.

  The momentum starts at zero. Raises InputError when `workdir` has checkpoints already, when the file cannot be read,
  and when its weights do not fit the model that `config` describes.
  """
  check_config(config, jax.device_count())
  starts_anew = config.model.composer == "magic_lens" or placeholder_of(config.model)
  if not starts_anew:
    check_importable(config)
  with locked(workdir):
    if starts_anew:
      save_first(open_run(config, workdir), path)
    else:
      save_checkpoint(open_run(config, workdir), read_checkpoint(path))
    write_config(workdir, config)
  print(f"{path} is imported into {workdir}: `composeret eval` evaluates it, `composeret train` goes on from it.")


def save_first(run: Run, path: pathlib.Path) -> None:
  """Saves a published checkpoint as step 0 of the run.

  MagicLens' replaces CLIP's weights too; LinCIR's, SEARLE's and Pic2Word's have the composer's alone.
  """
  composer: Any = run.model.composer
  arrays = read_phi(path, composer) if composer.placeholder else read_magic_lens(path)
  check_empty(run)
  slots = phi_slots(composer) if composer.placeholder else magic_lens_slots(run.model)
  fill(arrays, slots, f"the arrays of {path}")
  state = model_state(run)
  with run.checkpoints as checkpoints:
    checkpoints.save(0, state)


def check_importable(config: ml_collections.ConfigDict) -> None:
  """Raises InputError for a configuration that the PyTorch programs' checkpoints cannot fill."""
  # What the original programs lack would stay untrained, or have no trunk to fill.
  image_encoder, projection_dim = config.model.image_encoder.name, config.model.text_encoder.projection_dim
  if image_encoder != "resnet":
    raise InputError(f"config.model.image_encoder.name is {image_encoder}, expected resnet: the checkpoint has one")
  if config.model.text_encoder.name != "lstm" and projection_dim:
    raise InputError(
      f"config.model.text_encoder.projection_dim is {projection_dim}, expected 0: the original has no such layer"
    )
  if config.model.image_encoder.frozen:
    raise InputError("config.model.image_encoder.frozen is True, expected False: the checkpoint has a trunk of its own")
  if not config.model.train_radius:
    raise InputError("config.model.train_radius is False, expected True: the checkpoint has a learned radius")


def save_checkpoint(run: Run, checkpoint: OriginalCheckpoint) -> None:
  """Fills the run's model and saves it as the run's first checkpoint; raises InputError as `import_checkpoint`."""
  check_empty(run)
  encoder, embedding = run.model.text_encoder, checkpoint.state_dict.get(EMBEDDING)
  # Other texts made it, which a mere wrong shape would not say.
  if isinstance(encoder, LstmTextEncoder) and embedding is not None and len(embedding) != len(encoder.embedding):
    raise InputError(
      f"{EMBEDDING} has {len(embedding)} rows, expected {len(encoder.embedding)}: the words of "
      f"{run.config.data.dataset}'s training texts (config.text_query={run.config.text_query}) in order of first "
      "appearance, and one for unknown words. Import with the data set and the text query that the checkpoint was "
      "trained on."
    )
  if run.miner and not run.miner.is_due(checkpoint.step):
    raise InputError(
      f"config.hard_negatives.every_steps is {run.miner.every_steps}, expected a divisor of {checkpoint.step}, the "
      "checkpoint's step: it has no negatives to go on with"
    )
  original.load(checkpoint.state_dict, run.model)
  step = jnp.asarray(checkpoint.step, jnp.int32)
  state = model_state(run)
  # The schedule counts steps of its own: without this the learning rate would start from the top again.
  optimizer_state = optax.tree.set(state.optimizer_state, count=step)
  with run.checkpoints as checkpoints:
    checkpoints.save(checkpoint.step, dataclasses.replace(state, step=step, optimizer_state=optimizer_state))


def check_empty(run: Run) -> None:
  """Raises InputError where the run's workdir has a checkpoint."""
  newest = run.checkpoints.latest_step()
  if newest is not None:
    raise InputError(f"{run.checkpoints.path(newest)} is there already: import into an empty --workdir")
