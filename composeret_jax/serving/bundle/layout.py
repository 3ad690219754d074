"""The files of a bundle's folder, and the checks of it that come before anything is loaded."""

from collections.abc import Callable, Mapping
import hashlib
import pathlib
from typing import Any

from data_pipelines.files import file_sha256
from data_pipelines.input_error import InputError
from data_pipelines.texts.templates import CAPTION, mistake_of_template, TextTemplate
from data_pipelines.untrusted_json import is_count, is_texts, read_json

FORMAT_VERSION = 3  # a new number whenever a program that reads the old one would go wrong
VERSION_AS_TYPED = 2  # of bundles without `text_templates`, as older programs read them
INFO = "bundle.json"
CHECKSUM = "bundle.sha256"  # of INFO, as sha256sum writes it; INFO has the other files' checksums
WEIGHTS = "weights.safetensors"
ENCODE_GALLERY = "encode_gallery"
COMPOSE_QUERY = "compose_query"
COMPOSE_TEXTS = "compose_texts"
COMPOSE_FEATURES = "compose_features"  # not of composers that compose maps, or targets
MEAN_REFERENCE = (
  "mean_reference"  # the one array of WEIGHTS that is no weight: what the gallery's references average to
)


WORDS, WORD_PIECES = "words", "word_pieces"


TEXT_FILES = {WORDS: "vocabulary.json", WORD_PIECES: "tokenizer.json"}
PROGRAMS = (ENCODE_GALLERY, COMPOSE_QUERY, COMPOSE_TEXTS, COMPOSE_FEATURES)
DTYPES = {"F32": "float32"}  # of weights, as safetensors and NumPy call them
MAX_IMAGE_SIZE = 4_096


MAX_TEMPLATES, MAX_TEMPLATE = 16, 1_000  # how many texts a query becomes, and the characters of each template


MAX_NAME = 255  # of a file; no longer one is there


def _are_programs(value: Any) -> bool:
  """All programs; a composer that composes maps, or targets, has no program of features."""
  return is_texts(value) and len(value) == len(set(value)) and set(PROGRAMS[:3]) <= set(value) <= set(PROGRAMS)


def _are_arrays(value: Any) -> bool:
  return isinstance(value, dict) and all(
    isinstance(array, dict)
    and array.keys() == {"dtype", "shape"}
    and array["dtype"] in list(DTYPES)
    and isinstance(array["shape"], list)
    and all(is_count(size, most=2**40) for size in array["shape"])
    for array in value.values()
  )


def _are_files(value: Any) -> bool:
  return isinstance(value, dict) and all(
    isinstance(file, dict) and is_count(file.get("size"), most=2**63) and isinstance(file.get("sha256"), str)
    for file in value.values()
  )


def _are_templates(value: Any) -> bool:
  """Texts with the field of what a user types, and no other."""
  return (
    is_texts(value)
    and 0 < len(value) <= MAX_TEMPLATES
    and all(len(text) <= MAX_TEMPLATE and not mistake_of_template(text) for text in value)
    and all(TextTemplate((text,)).fields == {CAPTION} for text in value)
  )


def _is_reader(value: Any) -> bool:
  """Which reader of texts is meant, and how many ids a text has at most."""
  if not isinstance(value, dict):
    return False
  is_named = isinstance(value.get("kind"), str) and isinstance(value.get("plain_signs", False), bool)
  return is_named and is_count(value.get("max_length"), 1, 2**16)


# The type of each field, or what tells whether a value is right.
FIELDS: dict[str, type | Callable[[Any], bool]] = {
  "format_version": is_count,
  "step": is_count,
  "metrics": dict,
  "config": dict,
  "feature_dim": lambda value: is_count(value, 1),
  "mean_norm": lambda value: type(value) in (int, float) and 0 <= value < 1e30,
  "image_size": lambda value: is_count(value, 1, MAX_IMAGE_SIZE),
  "resize": str,
  "interpolation": str,
  "decoder_version": is_count,
  "text": _is_reader,
  "programs": _are_programs,
  "arrays": _are_arrays,
  "files": _are_files,
  "jax_version": str,
}


OPTIONAL_FIELDS: dict[str, type | Callable[[Any], bool]] = {
  "example_texts": is_texts,
  "texts": str,
  "text_templates": _are_templates,
}


def program_file(program: str) -> str:
  """The name of a program's file."""
  return f"{program}.stablehlo"


def onnx_file(program: str) -> str:
  """The name of a program's ONNX file, which a bundle may have beside the other."""
  return f"{program}.onnx"


def checksum_line(info: bytes) -> str:
  """The content of CHECKSUM for these bytes of INFO."""
  return f"{hashlib.sha256(info).hexdigest()}  {INFO}\n"


def read_info(folder: pathlib.Path) -> tuple[dict[str, Any], str]:
  """The fields of a bundle's INFO, and its SHA-256; raises InputError when `folder` is no bundle that we can read."""
  info = read_json(_inside(folder, INFO))
  if not isinstance(info, dict) or "format_version" not in info:
    raise InputError(f"{folder / INFO} is no description of a bundle")
  if info["format_version"] not in (VERSION_AS_TYPED, FORMAT_VERSION):
    raise InputError(
      f"{folder / INFO} has format version {str(info['format_version'])[:20]}, this program reads {VERSION_AS_TYPED} "
      f"and {FORMAT_VERSION}"
    )
  content = _inside(folder, INFO).read_bytes()
  line = checksum_line(content).encode()
  with _inside(folder, CHECKSUM).open("rb") as file:
    is_same = file.read(len(line) + 1) == line
  if not is_same:
    raise InputError(f"{folder / INFO} or {CHECKSUM} has changed: the SHA-256 of the one is not what the other says")
  wrong = []
  for name, expected in (FIELDS | OPTIONAL_FIELDS).items():
    if name not in info:
      is_right = name in OPTIONAL_FIELDS
    else:
      is_right = isinstance(info[name], expected) if isinstance(expected, type) else expected(info[name])
    wrong += [] if is_right else [name]
  if wrong:
    raise InputError(f"{folder / INFO} lacks or has of another type: {', '.join(wrong)}")
  return info, hashlib.sha256(content).hexdigest()


def check_files(folder: pathlib.Path, info: Mapping[str, Any]) -> None:
  """Raises InputError that names a file which is missing, outside the folder, or not the one that was exported."""
  kind = info["text"]["kind"]
  if kind not in TEXT_FILES:
    raise InputError(f"{INFO} has texts of kind {kind!r}, expected {' or '.join(TEXT_FILES)}")
  lacking = {WEIGHTS, TEXT_FILES[kind], *map(program_file, info["programs"])} - info["files"].keys()
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


def describe_file(path: pathlib.Path) -> dict[str, Any]:
  """A file's entry in INFO."""
  return {"size": path.stat().st_size, "sha256": file_sha256(path)}


def _inside(folder: pathlib.Path, name: str) -> pathlib.Path:
  """A file of the folder itself; raises InputError for a name that leads elsewhere, and when it is not there."""
  if name in ("", ".", "..") or any(separator in name for separator in "/\\\0"):
    raise InputError(f"{folder / INFO} names {name[:100]!r}, which is no file of the folder itself")
  path = folder / name[:MAX_NAME]
  if path.is_symlink():
    raise InputError(f"{path} is a link: a bundle's files are in its folder")
  if not path.is_file():
    raise InputError(f"{folder} is no whole bundle: it has no {path.name}")
  return path
