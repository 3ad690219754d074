"""A run's configuration: checked before anything is read, kept with the checkpoints, compared on resume."""

from collections.abc import Iterator
import json
from typing import Any

import ml_collections

from composeret_jax.composers import COMPOSERS
from composeret_jax.encoders.bert import POOLINGS
from composeret_jax.encoders.resnet import BLOCKS
from composeret_jax.objective import PAIR_LOSSES
from composeret_jax.profiling import parse_steps
from composeret_jax.protocols import PROTOCOLS
from data_pipelines.builders.prepare import BUILDERS
from data_pipelines.input_error import InputError

# What may differ between the runs of one workdir: it changes no step's result.
FREE_FIELDS = (
  "num_train_steps",
  "log_every_steps",
  "eval_every_steps",
  "checkpoint_every_steps",
  "num_newest_checkpoints",
  "best_metric",
  "profile_steps",
  "peak_flops",
  "eval.",
  "data.dir",
  "data.prepared_dir",
  "data.num_workers",
  "model.text_encoder.path",  # its files are compared
)

CHOICES = {
  "loss": PAIR_LOSSES,
  "text_query": ("modification", "complete"),
  "protocol": tuple(PROTOCOLS),
  "data.dataset": tuple(BUILDERS),
  "model.composer": tuple(COMPOSERS),
  "model.image_encoder.dtype": ("float32", "bfloat16"),
  "model.image_encoder.block": tuple(BLOCKS),
  "model.text_encoder.name": ("lstm", "bert"),
  "model.text_encoder.pooling": tuple(POOLINGS),
}

AT_LEAST_ONE = (
  "batch_size",
  "num_train_steps",
  "decay_every_steps",
  "log_every_steps",
  "eval_every_steps",
  "checkpoint_every_steps",
  "num_newest_checkpoints",
  "data.image_size",
  "eval.batch_size",
  "eval.query_block",
  "eval.gallery_block",
)

NOT_NEGATIVE = (
  "learning_rate",
  "weight_decay",
  "peak_flops",
  "data.num_workers",
  "seed",
  "model.text_encoder.projection_dim",
)


def check_config(config: ml_collections.ConfigDict, num_devices: int) -> None:
  """Raises InputError, one line a mistake and all mistakes at once, unless a run with this configuration can start."""
  fields = dict(flatten(config))
  problems = [
    f"config.{name} is {fields[name]!r}, expected one of {', '.join(choices)}"
    for name, choices in CHOICES.items()
    if fields[name] not in choices
  ]
  problems += [f"config.{name} is {fields[name]}, expected at least 1" for name in AT_LEAST_ONE if fields[name] < 1]
  problems += [f"config.{name} is {fields[name]}, expected at least 0" for name in NOT_NEGATIVE if fields[name] < 0]
  if config.batch_size % num_devices:
    problems.append(f"config.batch_size is {config.batch_size}, expected a multiple of the {num_devices} devices")
  if config.loss == "soft_triplet" and config.batch_size < 2:
    problems.append(f"config.batch_size is {config.batch_size}, expected at least 2: the soft triplet needs negatives")
  try:
    parse_steps(config.profile_steps)
  except ValueError as error:
    problems.append(f"config.profile_steps: {error}")
  problems += _losses_that_the_composer_lacks(config.model)
  if problems:
    raise InputError("\n".join(problems))


def _losses_that_the_composer_lacks(model: ml_collections.ConfigDict) -> list[str]:
  if model.composer not in COMPOSERS:
    return []
  return [
    f"config.model.loss_weights.{loss} is {weight}, expected 0: {model.composer} has no such loss"
    for loss, weight in model.loss_weights.items()
    if weight and loss not in COMPOSERS[model.composer].losses
  ]


def check_same_run(saved: ml_collections.ConfigDict, config: ml_collections.ConfigDict, where: str) -> None:
  """Raises InputError that names every field in which a run and the checkpoint at `where` differ and must not."""
  old, new = dict(flatten(saved)), dict(flatten(config))
  names = [name for name in sorted(old | new) if not name.startswith(FREE_FIELDS)]
  absent = object()
  problems = [
    f"  config.{name}: {_show(old, name)} in the checkpoint, {_show(new, name)} now"
    for name in names
    if old.get(name, absent) != new.get(name, absent)
  ]
  if problems:
    advice = "Use another --workdir, or the checkpoint's values."
    raise InputError("\n".join([f"{where} was made with another configuration:", *problems, advice]))


def _show(fields: dict[str, Any], name: str) -> str:
  return repr(fields[name]) if name in fields else "absent"


def flatten(config: ml_collections.ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
  """Every field as ("data.image_size", value); sequences as tuples."""
  for name, value in config.items():
    if isinstance(value, ml_collections.ConfigDict):
      yield from flatten(value, f"{prefix}{name}.")
    else:
      yield prefix + name, tuple(value) if isinstance(value, list | tuple) else value


def config_to_json(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """Plain dictionaries, lists, strings and numbers."""
  return json.loads(config.to_json())


def config_from_json(fields: dict[str, Any]) -> ml_collections.ConfigDict:
  """The configuration that `config_to_json` wrote."""
  return ml_collections.ConfigDict(fields)
