"""Whether two configurations describe the same run: a checkpoint's, which is kept as JSON, and the current one."""

from collections.abc import Iterator
import json
from typing import Any

import ml_collections

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
  "data.compilation_cache",
  "data.device_memory_share",
  "parallel",
  "parallel_state",
  "train.steps_per_call",
  "train.on_nonfinite",
  "train.max_skipped_in_a_row",
  "data.pixels",
  "model.text_encoder.path",  # its files are compared
  "data.allow_other_content",
  "tracker",
)


OF_LSTM = ("model.text_encoder.words", "model.text_encoder.embedding_dim", "model.text_encoder.feature_dim")
ROWS = ("data.triplets", "data.captions")  # free as well where a checkpoint says what they held


def check_same_run(
  saved: ml_collections.ConfigDict, config: ml_collections.ConfigDict, where: str, also_free: tuple[str, ...] = ()
) -> None:
  """Raises InputError that names every field in which a run and the checkpoint at `where` differ and must not.

  `also_free` begins the names of fields that may differ beside FREE_FIELDS.
  """
  old, new = dict(flatten(saved)), dict(flatten(config))
  names = [name for name in sorted(old | new) if not _is_free(name, config) and not name.startswith(also_free)]
  absent = object()
  problems = [
    f"  config.{name}: {_show(old, name)} in the checkpoint, {_show(new, name)} now"
    for name in names
    if old.get(name, absent) != new.get(name, absent)
  ]
  if problems:
    advice = "Use another --workdir, or the checkpoint's values."
    raise InputError("\n".join([f"{where} was made with another configuration:", *problems, advice]))


# What an evaluation takes of its own configuration; all else is as it was trained.
OF_THE_DATASET = ("data", "eval", "protocol", "text_query", "text_template", "text_variants", "best_metric")
OF_THE_MODEL = ("image_size", "resize", "interpolation")  # fields of data that say what the model sees


# Fields of the encoders that say what training changes: on a data set without training data nothing is trained.
OF_TRAINING = (("image_encoder", "frozen"), ("text_encoder", "fine_tune"))


def config_on_data(
  saved: ml_collections.ConfigDict, config: ml_collections.ConfigDict, where: str
) -> ml_collections.ConfigDict:
  """The configuration of the checkpoint at `where`, on the data set of `config`; encoders are frozen as they were.

  Raises InputError that names every field in which they differ, of `model`, or of `data` where the model depends on it.
  """
  own = {name: config.to_dict()[name] for name in OF_THE_DATASET}
  expected = ml_collections.ConfigDict(saved.to_dict() | own)
  expected.data.update({name: saved.data[name] for name in OF_THE_MODEL if name in saved.data})
  found = ml_collections.ConfigDict(saved.to_dict() | own | {"model": config.model.to_dict()})
  for encoder, field in OF_TRAINING:
    found.model[encoder][field] = expected.model[encoder][field]
  check_same_run(expected, found, where)
  same = saved.data.dataset == config.data.dataset
  found.data.validation_share = saved.data.get("validation_share", 0.0) if same else 0.0
  if not same:  # there are no training images of theirs here
    found.hard_negatives = ml_collections.ConfigDict(config.hard_negatives.to_dict() | {"every_steps": 0})
  return found


def _is_free(name: str, config: ml_collections.ConfigDict) -> bool:
  if name in OF_LSTM and config.model.text_encoder.name != "lstm":
    return True  # no other text encoder reads them
  if name == "model.image_encoder.pretrained" and config.model.image_encoder.name == "tower":
    return True  # its files are compared
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


MADE_WITH = "made_with"  # in config.json beside the fields: the commit and the packages
LATER_FIELDS: dict[str, Any] = {
  "parallel_state": "replicated",
  "adam_b2": 0.999,
  "adam_epsilon": 1e-8,
  "decays_biases": False,
  "loss_reference_as_negative": False,
  "loss_label_mask": False,
  "init_from": "",
  "init_from_step": "",
  "text_template": "",
  "text_variants": (),
  "tracker": "",
  "tracker_project": "composeret",
}


LATER_TEXT_FIELDS: dict[str, Any] = {"words": "ascii", "unseen_id": -1, "plain_signs": False}
LATER_DATA_FIELDS: dict[str, Any] = {
  "allow_other_content": False,
  "compilation_cache": "",
  "siblings_per_batch": 0,
  "validation_share": 0.0,
}


def config_from_json(fields: dict[str, Any]) -> ml_collections.ConfigDict:
  """The configuration that `config_to_json` wrote; a field that came later has the value that it stands for.

  What a config.json says beside the configuration, under MADE_WITH, is left out.
  """
  config = ml_collections.ConfigDict({name: value for name, value in fields.items() if name != MADE_WITH})
  model, data = config.get("model", {}), config.get("data", {})
  later = [(config, LATER_FIELDS)]
  if "text_encoder" in model:
    later += [(model, {"composer_dtype": "float32"}), (model.text_encoder, LATER_TEXT_FIELDS)]
  later += [(data, LATER_DATA_FIELDS)] if "data" in config else []
  later += [(data, {"negatives_per_query": 0})] if data.get("dataset") == "catalogue" else []
  for part, fields_of_part in later:
    for name, value in fields_of_part.items():
      part[name] = part.get(name, value)
  return config
