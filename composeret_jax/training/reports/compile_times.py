"""How long a step took to compile: kept beside the prepared data, so that the next start can announce the wait."""

import json
import pathlib

import jax
import ml_collections

from composeret_jax.distributed import is_first
from data_pipelines.files import write_whole
from data_pipelines.paths import prepared_folder
from data_pipelines.untrusted_json import parse_json

FILE = "compile_seconds.json"


def announcement(config: ml_collections.ConfigDict) -> str:
  """The message before the first step, with the time that the same kind of step took to compile last time."""
  seconds = _read(_file(config)).get(_kind_of_step(config))
  expected = f" (about {seconds:.0f} s)" if seconds else ""
  return f"Compiling the train step{expected}: the first step takes longer than the others."


def remember(config: ml_collections.ConfigDict, seconds: float) -> None:
  """Keeps the time of this run's step; the first process does."""
  if is_first():
    file = _file(config)
    times = _read(file) | {_kind_of_step(config): round(seconds, 1)}
    write_whole(file, json.dumps(times, indent=2, sort_keys=True) + "\n")


def _file(config: ml_collections.ConfigDict) -> pathlib.Path:
  return prepared_folder(config.data.prepared_dir) / FILE


def _read(file: pathlib.Path) -> dict[str, float]:
  """The times that are known; a file that is missing or damaged has none."""
  try:
    times = parse_json(file.read_bytes())
  except (OSError, ValueError):
    return {}
  known = times if isinstance(times, dict) else {}
  return {name: value for name, value in known.items() if isinstance(value, int | float)}


def _kind_of_step(config: ml_collections.ConfigDict) -> str:
  """Steps that compile for about as long."""
  encoders = config.model.image_encoder, config.model.text_encoder
  parts = [f"{jax.device_count()} x {jax.devices()[0].device_kind}", config.model.composer, config.loss]
  parts += [encoder.name for encoder in encoders] + [f"batch {config.batch_size}", f"image {config.data.image_size}"]
  parts += [f"width {config.model.image_encoder.width}"]
  return ", ".join(parts)
