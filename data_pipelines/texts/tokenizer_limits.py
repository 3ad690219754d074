"""Limits of a tokenizer.json: others write these files, and the library does whatever they say."""

from collections.abc import Iterator, Mapping
import math
import pathlib
import re
from typing import Any

import tokenizers

from data_pipelines.input_error import InputError
from data_pipelines.untrusted_json import read_json

MAX_REGEX = 10_000  # characters
MAX_GROWTH = 64  # times as many characters in a text after the file's replacements
MAX_TEMPLATE = 64  # pieces around a text


# Escapes and sets of characters are one character each for what follows.
ONE_CHARACTER = re.compile(r"\\[pPxu]\{[^}]*\}|\\.|\[(?:\\.|\[:\w+:\]|[^\]\\])+\]", re.DOTALL)
UNBOUNDED = re.compile(r"[*+]|\{\d*,\}")


def check_parts(file: pathlib.Path) -> None:
  """Raises InputError for a tokenizer.json whose work on a text has no reasonable bound.

  That is a regex that repeats a group which repeats itself, such as (a+)+, which takes exponential time; replacements
  that make a text more than MAX_GROWTH times as long; a template of more than MAX_TEMPLATE pieces.
  """
  parts = list(_dicts(read_json(file)))
  for pattern in (part["Regex"] for part in parts if isinstance(part.get("Regex"), str)):
    if len(pattern) > MAX_REGEX or _repeats_a_repetition(pattern):
      raise InputError(f"{file} has the regex {pattern[:60]!r}, expected one that takes little time for any text")
  contents = [part.get("content") for part in parts if part.get("type") == "Replace"]
  growth = math.prod(max(1, len(content)) for content in contents if isinstance(content, str))
  if growth > MAX_GROWTH:
    raise InputError(f"{file} makes a text up to {growth:.3g} times as long, expected at most {MAX_GROWTH} times")
  templates = [
    part.get(name) for part in parts if part.get("type") == "TemplateProcessing" for name in ("single", "pair")
  ]
  if any(isinstance(template, list) and len(template) > MAX_TEMPLATE for template in templates):
    raise InputError(f"{file} puts more than {MAX_TEMPLATE} pieces around a text")


def check_lengths(tokenizer: tokenizers.Tokenizer, max_length: int, file: pathlib.Path) -> None:
  """Raises InputError when the tokenizer pads beyond `max_length` ids, or cuts a text into parts that overlap."""
  padding, truncation = tokenizer.padding or {}, tokenizer.truncation or {}
  for name in ("length", "pad_to_multiple_of"):
    if (padding.get(name) or 0) > max_length:
      raise InputError(f"{file} has padding with {name} {padding[name]:,}, expected at most {max_length:,}")
  if truncation.get("stride") or truncation.get("max_length", 0) > max_length:
    raise InputError(f"{file} has truncation {truncation}, expected a stride of 0 and at most {max_length:,} ids")


def _dicts(value: Any) -> Iterator[Mapping[str, Any]]:
  """All JSON objects in a value outside its vocabulary, which has too many."""
  left = [value]
  while left:
    value = left.pop()
    if isinstance(value, dict):
      yield value
      left.extend(part for name, part in value.items() if name not in ("vocab", "merges", "added_tokens"))
    elif isinstance(value, list):
      left.extend(value)


def _repeats_a_repetition(pattern: str) -> bool:
  pattern = ONE_CHARACTER.sub("x", pattern)
  repeats = [False]  # for each open group, whether something in it is repeated without a bound
  for place, sign in enumerate(pattern):
    if sign == "(":
      repeats.append(False)
      continue
    inner = repeats.pop() if sign == ")" and len(repeats) > 1 else False
    again = UNBOUNDED.match(pattern, place + 1) is not None
    if inner and again:
      return True
    repeats[-1] |= inner or again
  return False
