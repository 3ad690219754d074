"""The fields of every run's configuration, each with the rule for its value."""

from typing import Any

from composeret_jax.models.composers import COMPOSERS
from composeret_jax.models.encoders.bert import POOLINGS
from composeret_jax.models.encoders.resnet import BLOCKS
from composeret_jax.train_step.losses import LOSSES
from composeret_jax.train_step.optimizers import DECAYS, LEARNING_RATE_SCALINGS, OPTIMIZERS
from composeret_jax.train_step.parallel import PARALLEL
from composeret_jax.train_step.state import PARALLEL_STATES
from composeret_jax.training.profiling import parse_steps
from composeret_jax.training.reports.finite_watch import ON_NONFINITE
from composeret_jax.training.reports.trackers import TRACKERS
from data_pipelines.datasets.prepare import BUILDERS, PROTOCOLS
from data_pipelines.field_rules import (
  boolean,
  FRACTION,
  NOT_NEGATIVE,
  one_of,
  POSITIVE,
  Rule,
  several,
  SHARE,
  text,
  whole_number,
)
from data_pipelines.pixels.decode import INTERPOLATIONS, RESIZES
from data_pipelines.texts.templates import mistake_of_template
from data_pipelines.texts.words import SPLITTERS

DTYPES = ("float32", "bfloat16")


def steps_to_profile(value: Any) -> str:
  """A rule: a range of steps, or "" for none."""
  if expected := text(value):
    return expected
  try:
    parse_steps(value)
  except ValueError:
    return "FIRST:STOP, as 10:15 for steps 10 to 14"
  return ""


def template(value: Any) -> str:
  """A rule: the name of a template, or its text, or ""."""
  return text(value) or mistake_of_template(value)


def templates(value: Any) -> str:
  """A rule: any number of templates' texts."""
  if not isinstance(value, list | tuple):
    return "a tuple of texts"
  mistakes = [mistake for own in value if (mistake := template(own))]
  return f"of each text {mistakes[0]}" if mistakes else ""


RULES: dict[str, Rule] = {
  "seed": whole_number(0),
  "batch_size": whole_number(1),
  "init_from": text,
  "init_from_step": text,
  "num_train_steps": whole_number(0),  # none evaluates the first weights
  "parallel": one_of(PARALLEL),
  "parallel_state": one_of(PARALLEL_STATES),
  "loss": one_of(LOSSES),
  "loss_reference_as_negative": boolean,
  "loss_label_mask": boolean,
  "text_template": template,
  "text_variants": templates,
  "text_query": one_of(("modification", "complete")),
  "loss_block_rows": whole_number(0),
  "optimizer": one_of(OPTIMIZERS),
  "learning_rate": NOT_NEGATIVE,
  "learning_rate_batch_size": whole_number(1),
  "learning_rate_scaling": one_of(LEARNING_RATE_SCALINGS),
  "trunk_learning_rate_factor": NOT_NEGATIVE,
  "layer_learning_rate_factor": SHARE,
  "momentum": FRACTION,
  "adam_b2": FRACTION,
  "adam_epsilon": POSITIVE,
  "weight_decay": NOT_NEGATIVE,
  "decays_biases": boolean,
  "num_warmup_steps": whole_number(0),
  "decay": one_of(DECAYS),
  "decay_every_steps": whole_number(1),
  "decay_factor": POSITIVE,
  "max_gradient_norm": NOT_NEGATIVE,
  "ema_decay": FRACTION,
  "log_every_steps": whole_number(1),
  "eval_every_steps": whole_number(1),
  "checkpoint_every_steps": whole_number(1),
  "num_newest_checkpoints": whole_number(1),
  "on_bad_checkpoint": one_of(("previous", "stop")),
  "preemption_grace_seconds": POSITIVE,
  "best_metric": text,
  "profile_steps": steps_to_profile,
  "tracker": one_of(("", *TRACKERS)),
  "tracker_project": text,
  "peak_flops": NOT_NEGATIVE,
  "protocol": one_of(PROTOCOLS),
  "data.dataset": one_of(BUILDERS),
  "data.dir": text,
  "data.prepared_dir": text,
  "data.image_size": whole_number(1),
  "data.resize": one_of(RESIZES),
  "data.interpolation": one_of(INTERPOLATIONS),
  "data.compilation_cache": text,
  "data.placement": one_of(("stream", "device")),
  "data.device_memory_share": SHARE,
  "data.pixels": one_of(("store", "decode")),
  "data.on_bad_image": one_of(("fail", "skip")),
  "data.siblings_per_batch": whole_number(0),
  "data.num_workers": whole_number(0),
  "data.allow_other_content": boolean,
  "data.validation_share": FRACTION,
  "augment.min_crop_area": SHARE,
  "augment.flip": boolean,
  "train.steps_per_call": whole_number(1),
  "train.num_microbatches": whole_number(1),
  "train.on_nonfinite": one_of(ON_NONFINITE),
  "train.max_skipped_in_a_row": whole_number(1),
  "eval.batch_size": whole_number(1),
  "eval.query_block": whole_number(1),
  "eval.gallery_block": whole_number(1),
  "eval.allow_unanswerable_queries": boolean,
  "eval.rerank": whole_number(0),
  "eval.rerank_weight": NOT_NEGATIVE,
  "hard_negatives.every_steps": whole_number(0),
  "hard_negatives.num": whole_number(1),
  "model.composer": one_of(COMPOSERS),
  "model.composer_dtype": one_of(DTYPES),
  "model.image_encoder.name": one_of(("resnet", "tower")),
  "model.image_encoder.width": whole_number(1),
  "model.image_encoder.block": one_of(BLOCKS),
  "model.image_encoder.stage_sizes": several(whole_number(1)),
  "model.image_encoder.feature_dim": whole_number(0),
  "model.image_encoder.dtype": one_of(DTYPES),
  "model.image_encoder.remat": boolean,
  "model.image_encoder.pretrained": text,
  "model.image_encoder.frozen": boolean,
  "model.text_encoder.words": one_of(tuple(SPLITTERS)),
  "model.text_encoder.name": one_of(("lstm", "bert", "tower")),
  "model.text_encoder.embedding_dim": whole_number(1),
  "model.text_encoder.feature_dim": whole_number(1),
  "model.text_encoder.path": text,
  "model.text_encoder.pooling": one_of(POOLINGS),
  "model.text_encoder.projection_dim": whole_number(0),
  "model.text_encoder.fine_tune": boolean,
  "model.radius": POSITIVE,
  "model.train_radius": boolean,
  "model.text_encoder.unseen_id": whole_number(-1),
  "model.text_encoder.plain_signs": boolean,
  "model.text_encoder.dtype": one_of(DTYPES),
  "model.text_encoder.remat": boolean,
  "model.loss_weights.main": NOT_NEGATIVE,
  "model.loss_weights.image_reconstruction": NOT_NEGATIVE,
  "model.loss_weights.text_reconstruction": NOT_NEGATIVE,
  "model.loss_weights.rotational_symmetry": NOT_NEGATIVE,
}
