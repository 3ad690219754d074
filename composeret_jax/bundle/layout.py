"""What a bundle's folder holds, and the checks of it that come before anything is loaded."""

from collections.abc import Mapping
import hashlib
import json
import pathlib
from typing import Any

from composeret_jax.checksums import file_sha256
from data_pipelines.input_error import InputError

FORMAT_VERSION = 2  # a new number whenever a program that reads the old one would go wrong

INFO = "bundle.json"
CHECKSUM = "bundle.sha256"  # of INFO, as sha256sum writes it; INFO has those of the other files
WEIGHTS = "weights.safetensors"

ENCODE_GALLERY = "encode_gallery"
COMPOSE_QUERY = "compose_query"
COMPOSE_TEXTS = "compose_texts"
COMPOSE_FEATURES = "compose_features"  # not of composers that compose maps

MEAN_REFERENCE = (
  "mean_reference"  # the one array of WEIGHTS that is no weight: what the gallery's references average to
)

WORDS, WORD_PIECES = "words", "word_pieces"
TEXT_FILES = {WORDS: "vocabulary.json", WORD_PIECES: "tokenizer.json"}

FIELDS = {
  "format_version": int,
  "step": int,
  "metrics": dict,
  "config": dict,
  "feature_dim": int,
  "mean_norm": float,
  "image_size": int,
  "resize": str,
  "interpolation": str,
  "decoder_version": int,
  "text": dict,
  "programs": list,
  "arrays": dict,
  "files": dict,
  "jax_version": str,
}


def program_file(program: str) -> str:
  """The name of a program's file."""
  return f"{program}.stablehlo"


def onnx_file(program: str) -> str:
  """The name of a program's ONNX file, which a bundle may have beside the other."""
  return f"{program}.onnx"


def checksum_line(info: bytes) -> str:
  """What CHECKSUM holds for these bytes of INFO."""
  return f"{hashlib.sha256(info).hexdigest()}  {INFO}\n"


def read_info(folder: pathlib.Path) -> tuple[dict[str, Any], str]:
  """The fields of a bundle's INFO, and its SHA-256; raises InputError when `folder` is no bundle that we can read."""
  content = _inside(folder, INFO).read_bytes()
  try:
    info = json.loads(content)
    version = info["format_version"]
  except (ValueError, TypeError, KeyError) as error:
    raise InputError(f"{folder / INFO} is no description of a bundle ({error!r})") from error
  if version != FORMAT_VERSION:
    raise InputError(f"{folder / INFO} has format version {version!r}, this program reads {FORMAT_VERSION}")
  if _inside(folder, CHECKSUM).read_bytes() != checksum_line(content).encode():
    raise InputError(f"{folder / INFO} or {CHECKSUM} has changed: the SHA-256 of the one is not what the other says")
  wrong = [name for name, kind in FIELDS.items() if not isinstance(info.get(name), kind)]
  if wrong:
    raise InputError(f"{folder / INFO} lacks or has of another type: {', '.join(wrong)}")
  return info, hashlib.sha256(content).hexdigest()


def check_files(folder: pathlib.Path, info: Mapping[str, Any]) -> None:
  """Raises InputError that names a file which is missing, outside the folder, or not the one that was exported."""
  lacking = required_files(info) - info["files"].keys()
  if lacking:
    raise InputError(f"{folder / INFO} lists no {', '.join(sorted(lacking))}")
  paths = {name: _inside(folder, name) for name in info["files"]}
  for name, path in paths.items():
    size, expected = path.stat().st_size, info["files"][name]["size"]
    if size != expected:
      raise InputError(f"{path} has {size:,} bytes, expected {expected:,}: it is not the file that was exported")
  for name, path in paths.items():
    if file_sha256(path) != info["files"][name]["sha256"]:
      raise InputError(f"{path} has changed since it was exported: its SHA-256 is not what {INFO} says")


def required_files(info: Mapping[str, Any]) -> set[str]:
  """The names of the files that a bundle with these fields is loaded from."""
  kind = info["text"].get("kind")
  if kind not in TEXT_FILES:
    raise InputError(f"{INFO} has texts of kind {kind!r}, expected {' or '.join(TEXT_FILES)}")
  return {WEIGHTS, TEXT_FILES[kind], *map(program_file, info["programs"])}


def describe_file(path: pathlib.Path) -> dict[str, Any]:
  """What INFO says of a file."""
  return {"size": path.stat().st_size, "sha256": file_sha256(path)}


def _inside(folder: pathlib.Path, name: str) -> pathlib.Path:
  """A file of the folder itself; raises InputError for a name that leads elsewhere, and when it is not there."""
  if name in ("", ".", "..") or any(separator in name for separator in "/\\\0"):
    raise InputError(f"{folder / INFO} names {name!r}, which is no file of the folder itself")
  path = folder / name
  if path.is_symlink():
    raise InputError(f"{path} is a link: a bundle's files are in its folder")
  if not path.is_file():
    raise InputError(f"{folder} is no whole bundle: it has no {name}")
  return path
