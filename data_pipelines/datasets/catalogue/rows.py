"""The rows of a catalogue: (reference, text, target), or (image, caption), each with a split and a category."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import hashlib
import os
import sys
from typing import Any, NamedTuple

from data_pipelines.buckets.fetched import local_copy
from data_pipelines.datasets.annotations import check_inside, check_text, excerpt
from data_pipelines.datasets.catalogue.hub_rows import FIELDS, PREFIX, read_hub_rows
from data_pipelines.datasets.catalogue.row_files import Columns, read_rows, Row
from data_pipelines.folders import normal_name
from data_pipelines.input_error import InputError
from data_pipelines.texts.words import unicode_words

SPLITS = ("train", "test")
OPTIONAL = ("split", "category")
TRIPLETS = Columns(("reference", "text", "target"), OPTIONAL, lists=("text",))
WITH_NEGATIVES = Columns(("reference", "text", "target", "negatives"), OPTIONAL, lists=("text", "negatives"))
BETWEEN_NAMES = "|"  # where negatives are one text
CAPTIONS = Columns(("image", "caption"), OPTIONAL)


class Example(NamedTuple):
  """A row, or one text of it. `images` are its reference, its target and its negatives, or the image of a caption.

  `alternatives` are further texts, any of which may stand for `text`.
  """

  images: tuple[str, ...]
  text: str
  split: str
  category: str
  alternatives: tuple[str, ...] = ()


class Source(NamedTuple):
  """The content of a file or a Hugging Face data set: its rows, and the images that it holds itself, by name."""

  examples: Sequence[Example]
  images: Mapping[str, Callable[[], bytes]]


def read_triplets(source: str, *, negatives: bool = False) -> Source:
  """Reference, text and target of each row, and its `negatives`; raises InputError for a row that cannot be used.

  A row with several texts is as many examples; with `negatives` it is one, and its further texts are alternatives.
  """
  return _read(source, WITH_NEGATIVES if negatives else TRIPLETS, ("reference", "target"), "text")


def read_captions(source: str) -> Source:
  """Image and caption of each row; raises InputError as `read_triplets`, and for an image with two captions."""
  read = _read(source, CAPTIONS, ("image",), "caption")
  seen = set()
  for (name,), *_ in read.examples:
    if name in seen:
      raise InputError(f"{source}: {excerpt(name)} is listed twice: an image has one caption")
    seen.add(name)
  return read


def source_fingerprint(source: str) -> str:
  """Changes with the rows of a file or a saved data set. Of one on the hub the name has to do."""
  path = local_copy(source.removeprefix(PREFIX), FIELDS)
  files = sorted(path.rglob("state.json")) if is_hub(source) else [path] if source else []
  try:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
  except OSError as error:
    place = "" if is_hub(source) or path.is_absolute() else f" from {os.getcwd()}"
    raise InputError(f"{source} cannot be read{place}: {error.strerror}") from error


def is_hub(source: str) -> bool:
  """Whether it is a Hugging Face data set instead of a file."""
  return source.startswith(PREFIX)


def _read(source: str, columns: Columns, image_columns: Sequence[str], text_column: str) -> Source:
  rows: Iterable[Row]
  if is_hub(source):
    rows, images = read_hub_rows(source, columns)
  else:
    rows, images = read_rows(local_copy(source, FIELDS), columns), {}
  examples: list[Example] = []
  wordless: list[str] = []
  without_split = ""  # the first row
  names = _Names()
  for where, fields in rows:
    named = [(column, fields[column]) for column in image_columns]
    named += [("negatives", name) for name in _negatives(fields)]
    own = tuple(names.normal(name, where, column) for column, name in named)
    texts = [fields[text_column]] if isinstance(fields[text_column], str) else fields[text_column]
    if not texts:
      raise InputError(f"{where}: {text_column} is [], expected a text")
    for text in texts:
      check_text(text, f"{where}: {text_column}")
      if not unicode_words(text):
        wordless.append(f"{where}: {excerpt(text)}")
    split, category = sys.intern(fields["split"]), sys.intern(fields["category"].strip())
    if split not in SPLITS and not without_split:
      without_split = f"{where}: split is {excerpt(split)}"
    first, *others = map(str.strip, texts)
    if "negatives" in columns.required:
      examples.append(Example(own, first, split, category, tuple(others)))
    else:
      examples += [Example(own, text, split, category) for text in (first, *others)]
  if wordless:
    raise InputError(
      f"{len(wordless):,} rows have a {text_column} without a letter or a digit: {'; '.join(wordless[:5])}"
    )
  if without_split and any(example.split for example in examples):
    raise InputError(f"{without_split}, expected {' or '.join(SPLITS)} in every row")
  return Source(examples, images)


class _Names:
  """Names of images as tables have them, each checked and kept once: a row of MegaPairs has seven."""

  def __init__(self):
    self._normal: dict[str, str] = {}

  def normal(self, name: str, where: str, column: str) -> str:
    """Raises InputError for a name that leads out of the folder."""
    known = self._normal.get(name)
    if known is None:
      check_inside(name, f"{where}: {column}")
      known = self._normal[name] = name if name == normal_name(name) else normal_name(name)
    return known


def _negatives(fields: Mapping[str, Any]) -> Sequence[str]:
  """The names of a row's negatives: a list, or a text with BETWEEN_NAMES between them."""
  names = fields.get("negatives", ())
  return [name.strip() for name in names.split(BETWEEN_NAMES) if name.strip()] if isinstance(names, str) else names
