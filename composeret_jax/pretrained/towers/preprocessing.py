"""How a tower's images are prepared, as preprocessor_config.json publishes it, and whether a run does the same."""

from collections.abc import Mapping
import dataclasses
import json
import pathlib
from typing import Any

import ml_collections

from composeret_jax.models.encoders.vit import Colours
from composeret_jax.pretrained.files import read_json
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import INTERPOLATIONS, Resizing, WHOLE_FIRST

PREPROCESSING = "preprocessor_config.json"


# The file numbers interpolations as Pillow does.
_INTERPOLATIONS = {int(number): name for name, number in INTERPOLATIONS.items()}


@dataclasses.dataclass(frozen=True)
class Preprocessing:
  """The normalisation, how an image becomes square, and of how many pixels."""

  colours: Colours
  resizing: Resizing
  image_size: int


def read_preprocessing(folder: pathlib.Path) -> Preprocessing:
  """What a folder's file says; raises InputError when it is not there, or when it says what we do not do."""
  file = folder / PREPROCESSING
  fields = read_json(file)
  if fields.get("do_center_crop", "crop_size" in fields):
    resize, image_size, shorter = "crop", _side(file, fields, "crop_size"), _side(file, fields, "size")
    if shorter != image_size:
      raise InputError(
        f"{file} brings the shorter side to {shorter} pixels and keeps {image_size} of them; here the shorter side has "
        "as many as are kept: set the one to the other in the file if this will do"
      )
  else:
    resize, image_size = "squash", _side(file, fields, "size")
  if fields.get("resample") not in _INTERPOLATIONS:
    names = ", ".join(f"{number} ({name})" for number, name in _INTERPOLATIONS.items())
    raise InputError(f"{file} has resample {fields.get('resample')!r}, expected one of {names}")
  colours = Colours(*(_colours(file, fields, name) for name in ("image_mean", "image_std")))
  return Preprocessing(colours, Resizing(resize, _INTERPOLATIONS[fields["resample"]]), image_size)


def _side(file: pathlib.Path, fields: Mapping[str, Any], name: str) -> int:
  """A number, {"shortest_edge": number}, or {"height": number, "width": the same}."""
  value = fields.get(name)
  sides = set(value.values()) if isinstance(value, dict) else {value}
  if len(sides) != 1 or not isinstance(side := sides.pop(), int):
    raise InputError(f"{file} has {name} {json.dumps(value)}, expected one number of pixels")
  return side


def _colours(file: pathlib.Path, fields: Mapping[str, Any], name: str) -> tuple[float, ...]:
  value = fields.get(name)
  if not isinstance(value, list) or len(value) != 3 or not all(isinstance(part, int | float) for part in value):
    raise InputError(f"{file} has {name} {json.dumps(value)}, expected three numbers")
  return tuple(map(float, value))


def check_resizing(folder: pathlib.Path, data_config: ml_collections.ConfigDict) -> None:
  """Raises InputError with the fields to set where `data_config`, the `data` part, prepares images otherwise.

  What no such file publishes, as MagicLens' way and padding, is chosen on purpose.
  """
  if data_config.resize in WHOLE_FIRST:
    return
  published = read_preprocessing(folder).resizing._asdict()
  wrong = [name for name, value in published.items() if data_config[name] != value]
  if wrong:
    settings = " ".join(f"--config.data.{name}={published[name]}" for name in wrong)
    found = ", ".join(f"config.data.{name} is {data_config[name]}" for name in wrong)
    raise InputError(f"{folder / PREPROCESSING} prepares images otherwise ({found}): set {settings}")


def with_image_size(fields: Mapping[str, Any], image_size: int) -> dict[str, Any]:
  """The fields of such a file for images of another size."""
  sizes = {name: fields[name] for name in ("size", "crop_size") if name in fields}
  return dict(fields) | {
    name: dict.fromkeys(value, image_size) if isinstance(value, dict) else image_size for name, value in sizes.items()
  }
