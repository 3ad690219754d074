"""JSON that somebody else wrote: read with bounds, and checked before it is used."""

import json
import math
import os
from typing import Any, TypeGuard

from data_pipelines.buckets.addresses import AnyPath
from data_pipelines.input_error import InputError

MAX_BYTES = 64_000_000


def read_json(file: AnyPath, max_bytes: int = MAX_BYTES) -> Any:
  """The content of a file; raises InputError with the file when it is too long or no JSON."""
  with file.open("rb") as stream:
    size = stream.seek(0, os.SEEK_END)
    if size > max_bytes:
      raise InputError(f"{file} has {size:,} bytes, expected at most {max_bytes:,}")
    stream.seek(0)
    content = stream.read(max_bytes)
  try:
    return parse_json(content)
  except ValueError as error:
    raise InputError(f"{file} is no JSON: {error}") from error


def read_json_object(file: AnyPath) -> dict[str, Any]:
  """`read_json` of an object; raises InputError with the file when it holds something else."""
  fields = read_json(file)
  if not isinstance(fields, dict):
    raise InputError(f"{file} is no JSON object")
  return fields


def parse_json(content: bytes | str, *, as_pairs: bool = False) -> Any:
  """Raises ValueError, in few words, for what is no JSON, is nested too deep, or has NaN or infinite numbers.

  An object is a dict, or `as_pairs` a list of (name, value), in which names that are there twice show.
  """
  try:
    return json.loads(
      content, parse_constant=_finite, parse_float=_finite, object_pairs_hook=list if as_pairs else None
    )
  except RecursionError:
    raise ValueError("it is nested too deep") from None
  except ValueError as error:
    raise ValueError(str(error)[:200]) from None


def _finite(text: str) -> float:
  """The number that JSON's digits, or one of its constants NaN, Infinity and -Infinity, stand for."""
  number = float(text)
  if not math.isfinite(number):
    raise ValueError("a number is infinite" if text[-1].isdigit() else f"{text} is no number")
  return number


def is_count(value: Any, least: int = 0, most: int = 2**31 - 1) -> TypeGuard[int]:
  """Whether it is a whole number between the two."""
  return type(value) is int and least <= value <= most


def is_texts(value: Any) -> TypeGuard[list[str]]:
  """Whether it is a list of strings."""
  return isinstance(value, list) and all(isinstance(item, str) for item in value)
