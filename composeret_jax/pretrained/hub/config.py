"""config.json with what it leaves out."""

from collections.abc import Mapping
import pathlib
from typing import Any

from composeret_jax.pretrained.files import read_json
from composeret_jax.pretrained.hub.quiet_transformers import transformers
from data_pipelines.input_error import InputError

CONFIG = "config.json"


def read_config(file: pathlib.Path, models: Mapping[str, Any]) -> dict[str, Any]:
  """All fields of a config.json, nested as there.

  Raises InputError when its model_type is none of `models`, or a field holds something else than is expected there.
  """
  fields = read_json(file)
  model_type = fields.get("model_type")
  if model_type not in models:
    raise InputError(f"{file} has model_type {model_type!r}, expected one of {', '.join(models)}")
  try:
    return with_defaults(fields)
  except Exception as error:  # of many classes, huggingface_hub's among them
    reason = " ".join(str(error).split())[:300]
    raise InputError(f"{file} is no configuration of a {model_type}: {reason}") from error


def with_defaults(fields: Mapping[str, Any]) -> dict[str, Any]:
  """The fields of a config.json, and the library's values for what they leave out."""
  return transformers().CONFIG_MAPPING[fields["model_type"]].from_dict(dict(fields)).to_dict()
