"""Columns of metadata: what kind each is, and which images a filter lets through."""

from collections.abc import Iterable, Mapping
import dataclasses
import json
import math
from typing import Any, Literal

import numpy as np

from data_pipelines.input_error import InputError

Value = str | int | float | bool | list[str]
MOST_CHOICES = 50  # different values of a column that is offered as a choice
MOST_BYTES = 60_000  # of an image's metadata, as JSON: Milvus takes 65,536
MOST_NAME = 100  # characters


@dataclasses.dataclass(frozen=True)
class OneOf:
  """The column has one of these values, or a list with one of them; true and false are texts."""

  column: str
  values: tuple[str | float, ...]


@dataclasses.dataclass(frozen=True)
class Between:
  """The column is a number from `low` to `high`, both included."""

  column: str
  low: float = -math.inf
  high: float = math.inf


Filters = tuple[OneOf | Between, ...]  # all of them hold


@dataclasses.dataclass(frozen=True)
class ColumnInfo:
  """A column that filters can name; `values` belong to a choice, `low` and `high` to numbers."""

  name: str
  kind: Literal["choice", "number", "text"]
  values: tuple[str, ...] = ()
  low: float | None = None
  high: float | None = None


def plain(value: Any) -> str | float:
  """A value as filters compare it: true and false are texts, numbers are floats."""
  if isinstance(value, bool):
    return "true" if value else "false"
  return float(value) if isinstance(value, int | float) else str(value)


def plain_values(value: Any) -> list[str | float]:
  """The values of a field: of a list each, and otherwise the one."""
  return [plain(item) for item in value] if isinstance(value, list) else [plain(value)]


class Columns:
  """All columns of an index, by row. Memory: a row's number for each value."""

  def __init__(self, metadata: Iterable[Mapping[str, Value]]):
    """`metadata` belong to the rows, in their order; a field that a row lacks fits no filter."""
    rows: dict[str, dict[str | float, list[int]]] = {}
    self._num_rows = 0
    for row, fields in enumerate(metadata):
      self._num_rows = row + 1
      for name, value in fields.items():
        for item in plain_values(value):
          rows.setdefault(name, {}).setdefault(item, []).append(row)
    self._rows = {
      name: {value: np.array(places, np.int64) for value, places in own.items()} for name, own in rows.items()
    }

  def described(self) -> list[ColumnInfo]:
    """Each column, in the order of their names."""
    return [describe(name, self._rows[name]) for name in sorted(self._rows)]

  def mask(self, filters: Filters) -> np.ndarray:
    """Bool [num_rows]: which rows pass all.

    Raises InputError for a column that no image has, and for a range of texts.
    """
    passing = np.ones(self._num_rows, bool)
    for condition in filters:
      check_known(condition.column, self._rows)
      own = self._rows[condition.column]
      if isinstance(condition, OneOf):
        chosen = [own[value] for value in condition.values if value in own]
      else:
        if not all(isinstance(value, float) for value in own):
          raise no_numbers(condition.column)
        chosen = [rows for value, rows in own.items() if condition.low <= float(value) <= condition.high]
      having = np.zeros(self._num_rows, bool)
      having[np.concatenate(chosen) if chosen else np.zeros(0, np.int64)] = True
      passing &= having
    return passing


def check_known(column: str, known: Iterable[str]) -> None:
  """Raises InputError where no image has a column."""
  names = sorted(known)
  if column not in names:
    found = ", ".join(names)[:200] or "none"
    raise InputError(f"There is no column {column[:50]!r} to filter by; there are: {found}.")


def no_numbers(column: str) -> InputError:
  """The message for a range of a column that has texts."""
  return InputError(f"The column {column[:50]!r} is not of numbers: filter it by its values.")


def describe(name: str, values: Iterable[str | float]) -> ColumnInfo:
  """A column by its different values."""
  found = list(values)
  numbers = [value for value in found if isinstance(value, float)]
  if len(numbers) == len(found):
    return ColumnInfo(name, "number", low=min(numbers), high=max(numbers))
  if len(found) > MOST_CHOICES or numbers:
    return ColumnInfo(name, "text")
  return ColumnInfo(name, "choice", tuple(sorted(map(str, found))))


def check_metadata(where: str, fields: Mapping[str, Any]) -> None:
  """Raises InputError, beginning with the place, for names and values that no index keeps."""
  for name, value in fields.items():
    if not isinstance(name, str) or not 0 < len(name) <= MOST_NAME:
      raise InputError(f"{where}: {str(name)[:50]!r} is no name of a column: 1 to {MOST_NAME} characters")
    is_number = isinstance(value, int | float) and math.isfinite(value) and abs(value) < 1e15
    is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
    if not (isinstance(value, str | bool) or is_number or is_list):
      raise InputError(
        f"{where}: {name} is {str(value)[:50]!r}, expected a text, a number, true, false or a list of texts"
      )
  try:
    size = len(json.dumps(fields, ensure_ascii=False).encode())
  except UnicodeEncodeError:
    raise InputError(f"{where}: its metadata have a text that is not Unicode") from None
  if size > MOST_BYTES:
    raise InputError(f"{where}: its metadata have {size:,} bytes, an index keeps {MOST_BYTES:,}")
