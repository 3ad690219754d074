"""The first lines of a run: what it runs on, what it trains, and where it starts."""

from collections.abc import Mapping
import math
from typing import Any

import jax
import ml_collections

from composeret_jax.train_step.optimizers import peak_learning_rate
from composeret_jax.train_step.state import TrainState
from composeret_jax.training.reports.environment import environment
from composeret_jax.training.run import Run


def heading(run: Run, state: TrainState) -> str:
  """A few lines about a run that starts, or goes on, from `state`."""
  config, dataset = run.config, run.dataset
  devices, made_with = jax.devices(), environment()
  commit, dirty, _ = made_with.git_commit.partition("-dirty")
  commit = f" ({commit[:10]}{dirty})" if commit else ""
  processes = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
  num_params = _num_parameters(state.variables.params)
  encoders = f"{config.model.image_encoder.name} and {config.model.text_encoder.name}"
  lines = {
    "Program": f"composeret_jax {made_with.packages['composeret-jax']}{commit}, jax {jax.__version__}",
    "Devices": f"{len(devices)} x {devices[0].device_kind}{processes}",
    "Data": f"{config.data.dataset}: {len(dataset.train_images):,} training images; {len(dataset.queries):,} queries "
    f"in a gallery of {len(dataset.gallery):,} ({dataset.title})",
    "Model": f"{config.model.composer} over {encoders}, {num_params:,} trained parameters",
    "Recipe": _recipe(config),
    "Workdir": f"{run.workdir}: {_start(run, state)}",
  }
  return "\n".join(f"{name + ':':<9}{line}" for name, line in lines.items())


def _recipe(config: ml_collections.ConfigDict) -> str:
  if not config.num_train_steps:
    return "no steps: the parameters are evaluated as they come"
  return (
    f"{config.loss}, {config.optimizer} at {peak_learning_rate(config):g} ({config.decay}), "
    f"batches of {config.batch_size:,}, {config.num_train_steps:,} steps"
  )


def _start(run: Run, state: TrainState) -> str:
  """The origin of the first parameters."""
  config = run.config
  if run.checkpoints.latest_step() is not None:
    return f"resumes at step {int(state.step):,}"
  if config.init_from:
    return f"starts from the parameters of {config.init_from}"
  pretrained = config.model.image_encoder.pretrained
  if not pretrained:
    return f"starts from random parameters, seed {config.seed}"
  num_random = _num_parameters(state.variables.params.get("composer", {}))
  random = f", and {num_random:,} random parameters of the composer, seed {config.seed}" if num_random else ""
  return f"starts from {pretrained}{random}"


def _num_parameters(params: Mapping[str, Any]) -> int:
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
