"""Whether a run can start with a configuration: every field's type and range, and what goes together."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
from typing import Any

import ml_collections

from composeret_jax.evaluation.evaluator import HALVES, RERANKED
from composeret_jax.models.composers import COMPOSERS
from composeret_jax.models.encoders.bert import POOLINGS
from composeret_jax.models.encoders.resnet import BLOCKS
from composeret_jax.train_step.losses import LOSSES
from composeret_jax.train_step.optimizers import DECAYS, LEARNING_RATE_SCALINGS, OPTIMIZERS
from composeret_jax.train_step.parallel import PARALLEL
from composeret_jax.training.config.field_rules import (
  boolean,
  different,
  FRACTION,
  nearest,
  NOT_NEGATIVE,
  one_of,
  POSITIVE,
  Rule,
  several,
  SHARE,
  text,
  whole,
)
from composeret_jax.training.profiling import parse_steps
from composeret_jax.training.reporting import ON_NONFINITE
from composeret_jax.training.resume import flatten
from data_pipelines.datasets.fashion_iq import CATEGORIES
from data_pipelines.datasets.prepare import BUILDERS, PROTOCOLS
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import INTERPOLATIONS, RESIZES

DTYPES = ("float32", "bfloat16")


RULES: dict[str, Rule] = {
  "seed": whole(0),
  "batch_size": whole(1),
  "num_train_steps": whole(0),  # none evaluates the first weights
  "parallel": one_of(PARALLEL),
  "loss": one_of(tuple(LOSSES)),
  "text_query": one_of(("modification", "complete")),
  "loss_block_rows": whole(0),
  "optimizer": one_of(tuple(OPTIMIZERS)),
  "learning_rate": NOT_NEGATIVE,
  "learning_rate_batch_size": whole(1),
  "learning_rate_scaling": one_of(tuple(LEARNING_RATE_SCALINGS)),
  "trunk_learning_rate_factor": NOT_NEGATIVE,
  "layer_learning_rate_factor": SHARE,
  "momentum": FRACTION,
  "weight_decay": NOT_NEGATIVE,
  "num_warmup_steps": whole(0),
  "decay": one_of(tuple(DECAYS)),
  "decay_every_steps": whole(1),
  "decay_factor": POSITIVE,
  "max_gradient_norm": NOT_NEGATIVE,
  "ema_decay": FRACTION,
  "log_every_steps": whole(1),
  "eval_every_steps": whole(1),
  "checkpoint_every_steps": whole(1),
  "num_newest_checkpoints": whole(1),
  "on_bad_checkpoint": one_of(("previous", "stop")),
  "preemption_grace_seconds": POSITIVE,
  "best_metric": text,
  "profile_steps": text,
  "peak_flops": NOT_NEGATIVE,
  "protocol": one_of(tuple(PROTOCOLS)),
  "data.dataset": one_of(tuple(BUILDERS)),
  "data.dir": text,
  "data.prepared_dir": text,
  "data.image_size": whole(1),
  "data.resize": one_of(RESIZES),
  "data.interpolation": one_of(tuple(INTERPOLATIONS)),
  "data.placement": one_of(("stream", "device")),
  "data.device_memory_share": SHARE,
  "data.pixels": one_of(("store", "decode")),
  "data.on_bad_image": one_of(("fail", "skip")),
  "data.num_workers": whole(0),
  "augment.min_crop_area": SHARE,
  "augment.flip": boolean,
  "train.steps_per_call": whole(1),
  "train.num_microbatches": whole(1),
  "train.on_nonfinite": one_of(ON_NONFINITE),
  "train.max_skipped_in_a_row": whole(1),
  "eval.batch_size": whole(1),
  "eval.query_block": whole(1),
  "eval.gallery_block": whole(1),
  "eval.allow_unanswerable_queries": boolean,
  "eval.rerank": whole(0),
  "eval.rerank_weight": NOT_NEGATIVE,
  "hard_negatives.every_steps": whole(0),
  "hard_negatives.num": whole(1),
  "model.composer": one_of(tuple(COMPOSERS)),
  "model.image_encoder.name": one_of(("resnet", "tower")),
  "model.image_encoder.width": whole(1),
  "model.image_encoder.block": one_of(tuple(BLOCKS)),
  "model.image_encoder.stage_sizes": several(whole(1)),
  "model.image_encoder.feature_dim": whole(0),
  "model.image_encoder.dtype": one_of(DTYPES),
  "model.image_encoder.remat": boolean,
  "model.image_encoder.pretrained": text,
  "model.image_encoder.frozen": boolean,
  "model.text_encoder.name": one_of(("lstm", "bert", "tower")),
  "model.text_encoder.embedding_dim": whole(1),
  "model.text_encoder.feature_dim": whole(1),
  "model.text_encoder.path": text,
  "model.text_encoder.pooling": one_of(tuple(POOLINGS)),
  "model.text_encoder.projection_dim": whole(0),
  "model.text_encoder.fine_tune": boolean,
  "model.radius": POSITIVE,
  "model.train_radius": boolean,
  "model.text_encoder.dtype": one_of(DTYPES),
  "model.text_encoder.remat": boolean,
  "model.loss_weights.main": NOT_NEGATIVE,
  "model.loss_weights.image_reconstruction": NOT_NEGATIVE,
  "model.loss_weights.text_reconstruction": NOT_NEGATIVE,
  "model.loss_weights.rotational_symmetry": NOT_NEGATIVE,
}


# Fields that one data set has beside these.
RULES_OF_DATASET: dict[str, dict[str, Rule]] = {
  "fashion_iq": {"data.categories": different(one_of(CATEGORIES)), "data.allow_missing_images": boolean},
  "cirr": {"data.allow_missing_images": boolean},
  "catalogue": {
    "data.triplets": text,
    "data.captions": text,
    "data.test_share": SHARE,
    "data.allow_missing_images": boolean,
  },
}


# What a composer is built with beside its widths, where the configuration says it.
OPTIONS = "model.composer_options."


OPTIONS_OF_COMPOSER: dict[str, dict[str, Rule]] = {
  "rotor": {f"{OPTIONS}{name}": boolean for name in ("rotates", "gates", "shifts", "scales_image")},
  "sum": {f"{OPTIONS}normalise": boolean, f"{OPTIONS}text_weight": NOT_NEGATIVE},
}


PERIODS = (
  "num_train_steps",
  "log_every_steps",
  "eval_every_steps",
  "checkpoint_every_steps",
  "hard_negatives.every_steps",
)


LOSS_WEIGHTS = "model.loss_weights."


def check_config(config: ml_collections.ConfigDict, num_devices: int) -> None:
  """Raises InputError, one line a mistake and all mistakes at once, unless a run with this configuration can start."""
  fields = dict(flatten(config))
  needed = RULES | _rules_of(RULES_OF_DATASET, fields.get("data.dataset"))
  rules = needed | _rules_of(OPTIONS_OF_COMPOSER, fields.get("model.composer"))
  problems = [f"config.{name} is missing" for name in needed if name not in fields]
  problems += [_unknown(name, tuple(rules)) for name in fields if name not in rules]
  wrong = {name: rule(fields[name]) for name, rule in rules.items() if name in fields}
  problems += [_mistake(name, fields[name], expected) for name, expected in wrong.items() if expected]
  right = _RightFields({name: fields[name] for name, expected in wrong.items() if not expected})
  problems += _what_does_not_go_together(right, num_devices)
  if problems:
    raise InputError("\n".join(problems))


def _rules_of(rules: Mapping[str, dict[str, Rule]], name: Any) -> dict[str, Rule]:
  return rules.get(name, {}) if isinstance(name, str) else {}


def _unknown(name: str, known: Sequence[str]) -> str:
  owner = "option of this composer" if name.startswith(OPTIONS) else "field of a run with this data set"
  return f"config.{name} is no {owner}{nearest(name, known)}"


class _MistakenFieldError(Exception):
  """A field is read that is said to be a mistake already."""


class _RightFields(dict):
  def __missing__(self, name: str):
    raise _MistakenFieldError(name)


def _what_does_not_go_together(fields: Mapping[str, Any], num_devices: int) -> list[str]:
  problems = []
  for check in TOGETHER:
    with contextlib.suppress(_MistakenFieldError):
      problems.extend(check(fields))
  with contextlib.suppress(_MistakenFieldError):
    problems.extend(_uneven_batch(fields, num_devices))
  return problems


def _mistake(name: str, value: Any, expected: str) -> str:
  shown = repr(value)
  shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
  return f"config.{name} is {shown}, expected {expected}"


def _uneven_batch(fields: Mapping[str, Any], num_devices: int) -> Iterator[str]:
  batch_size = fields["batch_size"]
  if batch_size % num_devices:
    yield _mistake("batch_size", batch_size, f"a multiple of the {num_devices} devices")
    return
  pieces = num_devices * fields["train.num_microbatches"]
  if batch_size % pieces:
    expected = f"a multiple of {num_devices} devices x config.train.num_microbatches = {pieces}"
    yield _mistake("batch_size", batch_size, expected)


def _uneven_calls(fields: Mapping[str, Any]) -> Iterator[str]:
  steps = fields["train.steps_per_call"]
  for name in PERIODS:
    if fields[name] % steps:
      yield _mistake(name, fields[name], f"a multiple of config.train.steps_per_call = {steps}")


def _pixels_for_devices(fields: Mapping[str, Any]) -> Iterator[str]:
  if fields["data.placement"] == "device" and fields["data.pixels"] != "store":
    yield _mistake("data.pixels", fields["data.pixels"], "store with data.placement = device")


def _endless_warmup(fields: Mapping[str, Any]) -> Iterator[str]:
  num_steps = fields["num_train_steps"]
  if num_steps and fields["num_warmup_steps"] >= num_steps:
    yield _mistake("num_warmup_steps", fields["num_warmup_steps"], f"less than the {num_steps} steps")


def _no_negatives(fields: Mapping[str, Any]) -> Iterator[str]:
  if fields["loss"] == "soft_triplet" and fields["batch_size"] < 2:
    yield _mistake("batch_size", fields["batch_size"], "at least 2: the soft triplet needs negatives")


def _what_hard_negatives_forbid(fields: Mapping[str, Any]) -> Iterator[str]:
  if not fields["hard_negatives.every_steps"]:
    return
  for name, expected in (("data.placement", "device"), ("loss", "batch_based_classification")):
    if fields[name] != expected:
      yield _mistake(name, fields[name], f"{expected} with config.hard_negatives.every_steps above 0")


def _no_text_to_rerank_by(fields: Mapping[str, Any]) -> Iterator[str]:
  if fields["eval.rerank"] and not fields[LOSS_WEIGHTS + "text_reconstruction"]:
    yield _mistake("eval.rerank", fields["eval.rerank"], "0 without a text decoder that text_reconstruction trains")


def _reranking_beyond_the_ranks(fields: Mapping[str, Any]) -> Iterator[str]:
  num_ranked = PROTOCOLS[fields["protocol"]].num_ranked
  if fields["eval.rerank"] > num_ranked:
    yield _mistake("eval.rerank", fields["eval.rerank"], f"at most {num_ranked}, which {fields['protocol']} looks at")


def _what_a_frozen_trunk_forbids(fields: Mapping[str, Any]) -> Iterator[str]:
  if not fields["model.image_encoder.frozen"]:
    return
  frozen = "with config.model.image_encoder.frozen"
  if not fields["model.image_encoder.pretrained"]:
    yield f"config.model.image_encoder.pretrained is not set, expected weights {frozen}"
  if fields["augment.flip"] or fields["augment.min_crop_area"] < 1:
    yield f"config.augment changes pixels, expected flip False and min_crop_area 1 {frozen}"
  if fields["data.pixels"] != "store":
    yield _mistake("data.pixels", fields["data.pixels"], f"store {frozen}")
  composer = fields["model.composer"]
  if COMPOSERS[composer].composes_maps:
    yield f"config.model.composer is {composer}, which composes maps: expected another {frozen}"


def _losses_that_the_composer_lacks(fields: Mapping[str, Any]) -> Iterator[str]:
  composer = fields["model.composer"]
  for name in RULES:
    loss = name.removeprefix(LOSS_WEIGHTS)
    if loss != name and loss not in COMPOSERS[composer].losses and fields[name]:
      yield _mistake(name, fields[name], f"0: {composer} has no such loss")


def _odd_width_to_turn(fields: Mapping[str, Any]) -> Iterator[str]:
  width = fields["model.image_encoder.feature_dim"]
  if fields["model.composer"] == "rotor" and width % 2:
    yield _mistake("model.image_encoder.feature_dim", width, "an even number: the rotor reads it as complex numbers")


def _no_loss(fields: Mapping[str, Any]) -> Iterator[str]:
  if not any(fields[name] for name in RULES if name.startswith(LOSS_WEIGHTS)):
    yield "config.model.loss_weights are all 0, expected one above it: there is nothing to learn"


def _text_encoder_from_nowhere(fields: Mapping[str, Any]) -> Iterator[str]:
  name = fields["model.text_encoder.name"]
  if name != "lstm" and not fields["model.text_encoder.path"]:
    owner = {"bert": "BERT", "tower": "the tower"}[name]
    yield _mistake("model.text_encoder.path", "", f"{owner}'s folder or hub repository")


def _what_the_lstm_lacks(fields: Mapping[str, Any]) -> Iterator[str]:
  if fields["model.text_encoder.name"] != "lstm":
    return
  for name, only in (("dtype", "float32"), ("remat", False)):
    if fields[f"model.text_encoder.{name}"] != only:
      yield _mistake(f"model.text_encoder.{name}", fields[f"model.text_encoder.{name}"], f"{only} with the lstm")


def _what_towers_and_resnets_lack(fields: Mapping[str, Any]) -> Iterator[str]:
  if fields["model.image_encoder.name"] == "resnet":
    if fields["model.image_encoder.remat"]:
      yield _mistake("model.image_encoder.remat", True, "False with the resnet")
    if not fields["model.image_encoder.feature_dim"]:
      yield _mistake("model.image_encoder.feature_dim", 0, "at least 1 with the resnet")
    return
  if not fields["model.image_encoder.pretrained"]:
    yield _mistake("model.image_encoder.pretrained", "", "the tower's folder or hub repository")
  composer = fields["model.composer"]
  if COMPOSERS[composer].composes_maps:
    yield f"config.model.composer is {composer}, which composes maps: expected another with an image tower"


def _texts_that_the_dataset_lacks(fields: Mapping[str, Any]) -> Iterator[str]:
  text_queries = BUILDERS[fields["data.dataset"]].TEXT_QUERIES
  if fields["text_query"] not in text_queries:
    expected = f"{' or '.join(text_queries)}: {fields['data.dataset']} has no other"
    yield _mistake("text_query", fields["text_query"], expected)


def _protocol_of_another_dataset(fields: Mapping[str, Any]) -> Iterator[str]:
  expected = PROTOCOLS[fields["protocol"]].dataset or fields["data.dataset"]
  if fields["data.dataset"] != expected:
    yield _mistake("protocol", fields["protocol"], f"another for {fields['data.dataset']}: it is {expected}'s")


def _unknown_metric(fields: Mapping[str, Any]) -> Iterator[str]:
  if any(_protocol_of_another_dataset(fields)):
    return
  protocol = PROTOCOLS[fields["protocol"]]
  names = protocol.metric_names(fields["data.categories"] if protocol.by_category else ())
  metric = fields["best_metric"]
  prefixes = (*HALVES, RERANKED) if fields["eval.rerank"] else HALVES
  if metric not in (*names, *(f"{prefix}/{name}" for prefix in prefixes for name in names)):
    yield _mistake("best_metric", metric, one_of(names)(metric))


def _two_files_of_rows(fields: Mapping[str, Any]) -> Iterator[str]:
  if fields["data.triplets"] and fields["data.captions"]:
    yield _mistake("data.captions", fields["data.captions"], "nothing, as config.data.triplets is set: one of the two")


def _steps_to_profile(fields: Mapping[str, Any]) -> Iterator[str]:
  try:
    parse_steps(fields["profile_steps"])
  except ValueError as error:
    yield f"config.profile_steps: {error}"


TOGETHER: tuple[Callable[[Mapping[str, Any]], Iterator[str]], ...] = (
  _uneven_calls,
  _pixels_for_devices,
  _endless_warmup,
  _no_negatives,
  _what_hard_negatives_forbid,
  _no_text_to_rerank_by,
  _reranking_beyond_the_ranks,
  _what_a_frozen_trunk_forbids,
  _losses_that_the_composer_lacks,
  _odd_width_to_turn,
  _no_loss,
  _text_encoder_from_nowhere,
  _what_the_lstm_lacks,
  _what_towers_and_resnets_lack,
  _texts_that_the_dataset_lacks,
  _protocol_of_another_dataset,
  _unknown_metric,
  _two_files_of_rows,
  _steps_to_profile,
)
