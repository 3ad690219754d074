"""A run's configuration: checked before anything is read, kept with the checkpoints, compared on resume."""

from collections.abc import Iterator
import json
from typing import Any

import ml_collections

from composeret_jax.composers import COMPOSERS
from composeret_jax.encoders.bert import POOLINGS
from composeret_jax.encoders.resnet import BLOCKS
from composeret_jax.objective import PAIR_LOSSES
from composeret_jax.optimizers import DECAYS, LEARNING_RATE_SCALINGS, OPTIMIZERS
from composeret_jax.parallel import PARALLEL
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
  "on_bad_checkpoint",
  "preemption_grace_seconds",
  "profile_steps",
  "peak_flops",
  "eval.",
  "data.dir",
  "data.prepared_dir",
  "data.num_workers",
  "data.placement",
  "data.device_memory_share",
  "parallel",
  "train.steps_per_call",
  "data.pixels",
  "model.text_encoder.path",  # its files are compared
)

CHOICES = {
  "loss": PAIR_LOSSES,
  "parallel": PARALLEL,
  "data.placement": ("stream", "device"),
  "optimizer": tuple(OPTIMIZERS),
  "learning_rate_scaling": tuple(LEARNING_RATE_SCALINGS),
  "decay": tuple(DECAYS),
  "on_bad_checkpoint": ("previous", "stop"),
  "text_query": ("modification", "complete"),
  "protocol": tuple(PROTOCOLS),
  "data.dataset": tuple(BUILDERS),
  "data.pixels": ("store", "decode"),
  "data.on_bad_image": ("fail", "skip"),
  "model.composer": tuple(COMPOSERS),
  "model.image_encoder.dtype": ("float32", "bfloat16"),
  "model.image_encoder.block": tuple(BLOCKS),
  "model.text_encoder.name": ("lstm", "bert"),
  "model.text_encoder.pooling": tuple(POOLINGS),
}

AT_LEAST_ONE = (
  "batch_size",
  "num_train_steps",
  "learning_rate_batch_size",
  "decay_every_steps",
  "log_every_steps",
  "eval_every_steps",
  "checkpoint_every_steps",
  "num_newest_checkpoints",
  "data.image_size",
  "train.steps_per_call",
  "train.num_microbatches",
  "eval.batch_size",
  "eval.query_block",
  "eval.gallery_block",
)

PERIODS = ("num_train_steps", "log_every_steps", "eval_every_steps", "checkpoint_every_steps")

NOT_NEGATIVE = (
  "loss_block_rows",
  "learning_rate",
  "weight_decay",
  "num_warmup_steps",
  "max_gradient_norm",
  "peak_flops",
  "data.num_workers",
  "seed",
  "model.text_encoder.projection_dim",
)

FRACTIONS = ("momentum", "ema_decay")

SHARES = ("data.device_memory_share", "augment.min_crop_area")


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
  problems += [
    f"config.{name} is {fields[name]}, expected at least 0 and below 1"
    for name in FRACTIONS
    if not 0 <= fields[name] < 1
  ]
  problems += [
    f"config.{name} is {fields[name]}, expected above 0 and at most 1" for name in SHARES if not 0 < fields[name] <= 1
  ]
  problems += _uneven_batch(config, num_devices) + _uneven_calls(config) + _what_does_not_go_together(config)
  try:
    parse_steps(config.profile_steps)
  except ValueError as error:
    problems.append(f"config.profile_steps: {error}")
  problems += _losses_that_the_composer_lacks(config.model)
  if problems:
    raise InputError("\n".join(problems))


def _what_does_not_go_together(config: ml_collections.ConfigDict) -> list[str]:
  problems = []
  if config.data.placement == "device" and config.data.pixels != "store":
    problems.append(f"config.data.pixels is {config.data.pixels!r}, expected store with data.placement = device")
  if config.num_warmup_steps >= config.num_train_steps:
    problems.append(
      f"config.num_warmup_steps is {config.num_warmup_steps}, expected less than the {config.num_train_steps} steps"
    )
  if config.loss == "soft_triplet" and config.batch_size < 2:
    problems.append(f"config.batch_size is {config.batch_size}, expected at least 2: the soft triplet needs negatives")
  return problems + (_what_a_frozen_trunk_forbids(config) if config.model.image_encoder.frozen else [])


def _what_a_frozen_trunk_forbids(config: ml_collections.ConfigDict) -> list[str]:
  frozen = "with config.model.image_encoder.frozen"
  problems = []
  if not config.model.image_encoder.pretrained:
    problems.append(f"config.model.image_encoder.pretrained is not set, expected weights {frozen}")
  if config.augment.flip or config.augment.min_crop_area < 1:
    problems.append(f"config.augment changes pixels, expected flip False and min_crop_area 1 {frozen}")
  if config.data.pixels != "store":
    problems.append(f"config.data.pixels is {config.data.pixels!r}, expected store {frozen}")
  if config.model.composer in COMPOSERS and COMPOSERS[config.model.composer].composes_maps:
    problems.append(f"config.model.composer is {config.model.composer}, which composes maps: expected another {frozen}")
  return problems


def _uneven_batch(config: ml_collections.ConfigDict, num_devices: int) -> list[str]:
  if config.batch_size % num_devices:
    return [f"config.batch_size is {config.batch_size}, expected a multiple of the {num_devices} devices"]
  pieces = num_devices * max(config.train.num_microbatches, 1)
  if config.batch_size % pieces:
    return [
      f"config.batch_size is {config.batch_size}, expected a multiple of {num_devices} devices x "
      f"config.train.num_microbatches = {pieces}"
    ]
  return []


def _uneven_calls(config: ml_collections.ConfigDict) -> list[str]:
  steps = max(config.train.steps_per_call, 1)
  return [
    f"config.{name} is {config[name]}, expected a multiple of config.train.steps_per_call = {steps}"
    for name in PERIODS
    if config[name] % steps
  ]


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
  names = [name for name in sorted(old | new) if not _is_free(name, config)]
  absent = object()
  problems = [
    f"  config.{name}: {_show(old, name)} in the checkpoint, {_show(new, name)} now"
    for name in names
    if old.get(name, absent) != new.get(name, absent)
  ]
  if problems:
    advice = "Use another --workdir, or the checkpoint's values."
    raise InputError("\n".join([f"{where} was made with another configuration:", *problems, advice]))


def _is_free(name: str, config: ml_collections.ConfigDict) -> bool:
  # A cosine's every value depends on where it ends.
  return name.startswith(FREE_FIELDS) and not (name == "num_train_steps" and config.decay == "cosine")


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
