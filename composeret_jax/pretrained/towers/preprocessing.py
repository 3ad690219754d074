"""How a tower's images are prepared, as its processor publishes it, and whether a run does the same."""

from collections.abc import Mapping
import dataclasses
import json
import pathlib
from typing import Any

import ml_collections

from composeret_jax.models.encoders.vit import Colours
from composeret_jax.pretrained.files import required
from composeret_jax.pretrained.hub.quiet_transformers import FROM_FILES, transformers
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import INTERPOLATIONS, Resizing, WHOLE_FIRST

PREPROCESSING = "preprocessor_config.json"


# Newer folders have the same in the field `image_processor` of this file.
PROCESSOR = "processor_config.json"


# The file numbers interpolations as Pillow does.
_INTERPOLATIONS = {int(number): name for name, number in INTERPOLATIONS.items()}


@dataclasses.dataclass(frozen=True)
class Preprocessing:
  """The normalisation, how an image becomes square, and of how many pixels."""

  colours: Colours
  resizing: Resizing
  image_size: int


def preprocessing_file(folder: pathlib.Path) -> pathlib.Path:
  """The file that has an image processor; raises InputError where there is none."""
  return folder / PROCESSOR if (folder / PROCESSOR).is_file() else required(folder / PREPROCESSING)


def read_preprocessing(folder: pathlib.Path, kind: str) -> Preprocessing:
  """The settings of a folder's image processor; where no class is named, the one of models of `kind`, as "clip".

  Raises InputError when there is none, or when it does what we do not do.
  """
  file = preprocessing_file(folder)
  processor = _load(file, kind)
  if type(processor).__name__.startswith("Siglip2"):
    raise InputError(f"{file} is of a SigLIP 2 of many resolutions (NaFlex), expected SiglipImageProcessor")
  if getattr(processor, "do_resize", None) is not True:
    raise InputError(f"{file} has do_resize {getattr(processor, 'do_resize', None)!r}, expected True")
  if getattr(processor, "do_center_crop", None):
    resize, image_size, shorter = "crop", _side(file, processor, "crop_size"), _side(file, processor, "size")
    if shorter != image_size:
      raise InputError(
        f"{file} brings the shorter side to {shorter} pixels and keeps {image_size} of them; here the shorter side has "
        "as many as are kept: set the one to the other in the file if this will do"
      )
  else:
    resize, image_size = "squash", _side(file, processor, "size")
  if processor.resample not in _INTERPOLATIONS:
    names = ", ".join(f"{number} ({name})" for number, name in _INTERPOLATIONS.items())
    raise InputError(f"{file} has resample {processor.resample!r}, expected one of {names}")
  resizing = Resizing(resize, _INTERPOLATIONS[int(processor.resample)])
  return Preprocessing(_colours(file, processor), resizing, image_size)


def _load(file: pathlib.Path, kind: str) -> Any:
  library = transformers()
  config = library.CONFIG_MAPPING["siglip" if kind == "siglip2" else kind]()  # siglip2's would be NaFlex's
  try:
    return library.AutoImageProcessor.from_pretrained(file.parent, config=config, backend="pil", **FROM_FILES)
  except Exception as error:  # of many classes
    reason = " ".join(str(error).split())[:300]
    raise InputError(f"{file} cannot be read as an image processor: {reason}") from error


def _side(file: pathlib.Path, processor: Any, name: str) -> int:
  """The one side that {"shortest_edge": number} or {"height": number, "width": the same} gives."""
  value = {edge: number for edge, number in dict(getattr(processor, name) or {}).items() if number is not None}
  sides = set(value.values())
  if len(sides) != 1 or not value.keys() <= {"shortest_edge", "height", "width"}:
    raise InputError(f"{file} has {name} {json.dumps(value)}, expected one number of pixels")
  return sides.pop()


def _colours(file: pathlib.Path, processor: Any) -> Colours:
  """Mean and deviation of pixels in [0, 1]; the processor's may be in another range."""
  scale = 255 * processor.rescale_factor if processor.do_rescale else 255.0
  mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ((0.0,) * 3, (1.0,) * 3)
  for name, value in {"image_mean": mean, "image_std": std}.items():
    if value is None or len(value) != 3:
      raise InputError(f"{file} has {name} {json.dumps(value)}, expected three numbers")
  return Colours(tuple(part / scale for part in mean), tuple(part / scale for part in std))


def check_resizing(folder: pathlib.Path, kind: str, data_config: ml_collections.ConfigDict) -> None:
  """Raises InputError with the fields to set where `data_config`, the `data` part, prepares images otherwise.

  What no such file publishes, as MagicLens' way and padding, is chosen on purpose.
  """
  if data_config.resize in WHOLE_FIRST:
    return
  published = read_preprocessing(folder, kind).resizing._asdict()
  wrong = [name for name, value in published.items() if data_config[name] != value]
  if wrong:
    settings = " ".join(f"--config.data.{name}={published[name]}" for name in wrong)
    found = ", ".join(f"config.data.{name} is {data_config[name]}" for name in wrong)
    raise InputError(f"{preprocessing_file(folder)} prepares images otherwise ({found}): set {settings}")


def with_image_size(fields: Mapping[str, Any], image_size: int) -> dict[str, Any]:
  """The fields of such a file for images of another size."""
  if "image_processor" in fields:
    return dict(fields) | {"image_processor": with_image_size(fields["image_processor"], image_size)}
  sizes = {name: fields[name] for name in ("size", "crop_size") if fields.get(name)}
  return dict(fields) | {
    name: dict.fromkeys(value, image_size) if isinstance(value, dict) else image_size for name, value in sizes.items()
  }
