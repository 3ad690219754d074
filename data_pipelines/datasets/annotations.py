"""Annotation files as data sets are published with: text, read strictly, every refusal with file and line."""

from collections.abc import Iterator
import os
import pathlib
from typing import Any, TypeVar

from data_pipelines.input_error import InputError
from data_pipelines.untrusted_json import parse_json

Kind = TypeVar("Kind", list, dict)

MAX_TEXT_WORDS = 1_000  # a batch is as wide as its longest text; the longest published one has 28


def read_text(path: pathlib.Path) -> str:
  """The file as UTF-8, without a byte order mark, lines ending in "\\n"; raises InputError with the line at fault."""
  try:
    return _decoded(path.read_bytes(), path).removeprefix("\ufeff").replace("\r\n", "\n")
  except OSError as error:
    raise InputError(f"{path} cannot be read: {error.strerror}") from error


def numbered_lines(path: pathlib.Path) -> Iterator[tuple[int, str]]:
  """The lines that are not blank, counted from 1, read one by one; raises InputError as `read_text`."""
  try:
    with path.open("rb") as file:
      for number, line in enumerate(file, start=1):
        text = _decoded(line, path, number).removesuffix("\n").removesuffix("\r")
        if number == 1:
          text = text.removeprefix("\ufeff")
        if text.strip():
          yield number, text
  except OSError as error:
    raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _decoded(content: bytes, path: pathlib.Path, first_line: int = 1) -> str:
  """UTF-8 as text; raises InputError with the line at fault, where `content` begins with line `first_line`."""
  try:
    return content.decode()
  except UnicodeDecodeError as error:
    line = content.count(b"\n", 0, error.start) + first_line
    raise InputError(f"{path}:{line}: not UTF-8 (byte {content[error.start]:#04x}): save the file as UTF-8") from error


def read_json(path: pathlib.Path, kind: type[Kind]) -> Kind:
  """The list or the object (dict) that a JSON file holds, as `kind` says; raises InputError where there is none."""
  try:
    content = parse_json(read_text(path))
  except InputError:
    raise
  except ValueError as error:
    raise InputError(f"{path}: not JSON ({error})") from error
  if not isinstance(content, kind):
    raise InputError(f"{path}: a JSON {type(content).__name__}, expected {'a list' if kind is list else 'an object'}")
  return content


def check_text(text: str, where: str) -> None:
  """Raises InputError, beginning with `where`, for a blank text, an endless one and one that is no Unicode."""
  num_words = len(text.split())
  if not num_words:
    raise InputError(f"{where}: a blank text, expected words")
  if num_words > MAX_TEXT_WORDS:
    raise InputError(f"{where}: a text of {num_words:,} words, expected at most {MAX_TEXT_WORDS:,}: {excerpt(text)}")
  check_unicode(text, where)


def check_unicode(text: str, where: str) -> None:
  """Raises InputError, beginning with `where`, for half of a surrogate pair, which no UTF-8 file can hold."""
  try:
    text.encode("utf-8")
  except UnicodeEncodeError as error:
    raise InputError(f"{where}: {excerpt(text)} is not Unicode ({error.reason})") from error


def check_inside(name: str, where: str) -> None:
  """Raises InputError, beginning with `where`, for a path that leads out of the data set's folder, or is none."""
  if not name or "\0" in name or os.path.isabs(name) or ".." in name.split("/"):
    raise InputError(f"{where}: {excerpt(name)}, expected a path below the data set's folder")
  check_unicode(name, where)


def excerpt(text: Any) -> str:
  """Its beginning, quoted, in ASCII: what was found, in one line."""
  quoted = ascii(text)
  return quoted if len(quoted) <= 80 else f"{quoted[:77]}..."
