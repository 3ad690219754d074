"""Files of rows with named columns, CSV, JSONL or Parquet: read strictly, every refusal with file, row and column.

Rows are read one by one: of millions no more is in memory than the caller keeps.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import csv
import io
import pathlib
import sys
from typing import Any, NamedTuple

from data_pipelines.datasets.annotations import excerpt, numbered_lines, read_text
from data_pipelines.input_error import InputError
from data_pipelines.untrusted_json import is_texts, parse_json


class Row(NamedTuple):
  """One row: its place, as messages begin with, and its columns."""

  where: str
  fields: Mapping[str, Any]


class Columns(NamedTuple):
  """The columns that are read: every row has the `required` ones, the `optional` ones are "" where there are none.

  Columns in `lists` may hold a list of texts, too.
  """

  required: Sequence[str]
  optional: Sequence[str]
  lists: Sequence[str] = ()


BATCH = 4_096  # rows of Parquet that are Python's at a time


# MegaPairs' names of columns, and ours.
MEGAPAIRS = {"q_img": "reference", "q_text": "text", "t_img": "target", "hns": "negatives"}
OTHER_SEPARATORS = ";\t|"  # of spreadsheets


def read_rows(path: pathlib.Path, columns: Columns) -> Iterator[Row]:
  """All rows, with texts in `columns` and nothing else; raises InputError where a file is not as expected."""
  return checked_rows(str(path), *read_table(path), columns)


def read_table(path: pathlib.Path) -> tuple[Sequence[str], Iterator[Row]]:
  """A file's columns, and its rows, which `checked_rows` has not seen; raises InputError for what is no such file."""
  if path.suffix.lower() not in READERS:
    raise InputError(f"{path}: expected a file that ends in one of {', '.join(READERS)}")
  return READERS[path.suffix.lower()](path)


def checked_rows(source: str, found: Sequence[str], rows: Iterable[Row], columns: Columns) -> Iterator[Row]:
  """The rows with texts in `columns`; raises InputError, beginning with the place, for others and for no rows.

  Columns that have MegaPairs' names get ours.
  `found` are the columns that `source` has: columns that are not read are reported on the terminal.
  """
  if "q_img" in found:
    found = [MEGAPAIRS.get(name, name) for name in found]
    rows = (Row(where, {MEGAPAIRS.get(name, name): value for name, value in row.items()}) for where, row in rows)
  lacking = [name for name in columns.required if name not in found]
  if lacking:
    raise InputError(f"{source}: no column {', '.join(lacking)} (found: {', '.join(map(str, found)) or 'nothing'})")
  unread = [name for name in found if name not in (*columns.required, *columns.optional)]
  if unread:
    print(f"{source}: columns that are not used: {', '.join(map(str, unread))}", file=sys.stderr)
  is_empty = True
  for where, fields in rows:
    is_empty = False
    yield Row(where, _texts(fields, columns, where))
  if is_empty:
    raise InputError(f"{source}: no rows")


def _texts(fields: Mapping[str, Any], columns: Columns, where: str) -> dict[str, Any]:
  texts: dict[str, Any] = {name: fields.get(name) for name in columns.required}
  texts |= {name: "" if fields.get(name) is None else fields[name] for name in columns.optional}
  for name, value in texts.items():
    if value is None:
      raise InputError(f"{where}: no {name}, expected {', '.join(columns.required)}")
    if name in columns.lists and is_texts(value):
      continue
    if not isinstance(value, str):
      raise InputError(f"{where}: {name} is {excerpt(value)}, expected a text")
  return texts


def _read_csv(path: pathlib.Path) -> tuple[Sequence[str], Iterator[Row]]:
  lines = _csv_lines(path)
  _, names = next(lines, (path, []))
  names = [name.strip() for name in names]
  separator = next((sign for sign in OTHER_SEPARATORS if len(names) == 1 and sign in names[0]), None)
  if separator:
    raise InputError(f"{path}:1: {excerpt(names[0])}: columns separated by {separator!r}, expected commas")
  if len(set(names)) < len(names):
    raise InputError(f"{path}:1: {excerpt(', '.join(names))}: a column is there twice")
  return names, _csv_rows(names, lines)


def _csv_lines(path: pathlib.Path) -> Iterator[tuple[str, list[str]]]:
  """The place and the fields of each line that is not empty, the names of columns first."""
  reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True, skipinitialspace=True)
  try:
    for number, fields in enumerate(reader):
      if fields or not number:
        yield f"{path}:{reader.line_num}", fields
  except csv.Error as error:
    raise InputError(f"{path}:{reader.line_num}: not CSV ({error})") from error


def _csv_rows(names: Sequence[str], lines: Iterable[tuple[str, list[str]]]) -> Iterator[Row]:
  for where, fields in lines:
    if len(fields) != len(names):
      found = f"{len(fields)} fields, expected the {len(names)} of line 1: {excerpt(', '.join(fields))}"
      raise InputError(f"{where}: {found}")
    yield Row(where, dict(zip(names, fields, strict=True)))


def _read_jsonl(path: pathlib.Path) -> tuple[Sequence[str], Iterator[Row]]:
  """Reads the file twice, as any row may have another column."""
  return list(dict.fromkeys(name for row in _jsonl_rows(path) for name in row.fields)), _jsonl_rows(path)


def _jsonl_rows(path: pathlib.Path) -> Iterator[Row]:
  for number, line in numbered_lines(path):
    where = f"{path}:{number}"
    try:
      fields = parse_json(line)
    except ValueError as error:
      raise InputError(f"{where}: not JSON ({error})") from error
    if not isinstance(fields, dict):
      raise InputError(f"{where}: a JSON {type(fields).__name__}, expected an object with a field for each column")
    yield Row(where, fields)


def _read_parquet(path: pathlib.Path) -> tuple[Sequence[str], Iterator[Row]]:
  import pyarrow
  from pyarrow import parquet  # comes with TFDS, and takes a while to import

  try:
    table = parquet.read_table(path)
  except (OSError, pyarrow.ArrowException) as error:
    raise InputError(f"{path}: not readable as Parquet ({error})") from error
  rows = (row for batch in table.to_batches(max_chunksize=BATCH) for row in _batch_rows(batch, path))
  return table.column_names, (Row(f"{path}: row {number}", own) for number, own in enumerate(rows, start=1))


def _batch_rows(batch: Any, path: pathlib.Path) -> Sequence[Mapping[str, Any]]:
  """A batch of Arrow's as Python's objects; raises InputError with the column that has none: of a year 30,000, say."""
  try:
    return batch.to_pylist()
  except (OverflowError, LookupError, ValueError):
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
      try:
        column.to_pylist()
      except (OverflowError, LookupError, ValueError) as error:
        raise InputError(f"{path}: the column {excerpt(name)} has a value that cannot be used ({error})") from error
    raise


READERS = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
