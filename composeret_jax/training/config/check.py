"""Whether a run can start with a configuration: every field's type and range, and what goes together."""

from typing import Any

import ml_collections

from composeret_jax.models.composers import Composer, COMPOSERS
from composeret_jax.training.config.fields import RULES
from composeret_jax.training.config.same_run import flatten
from composeret_jax.training.config.together import even_batch, TOGETHER
from data_pipelines.datasets.builder import TableBuilder
from data_pipelines.datasets.prepare import BUILDERS
from data_pipelines.field_rules import nearest
from data_pipelines.input_error import InputError

COMPOSER_OPTIONS = "model.composer_options."


def check_config(config: ml_collections.ConfigDict, num_devices: int) -> None:
  """Raises InputError, one line a mistake and all mistakes at once, unless a run with this configuration can start.

  Beside the fields of every run there are those that the data set's builder and the composer declare.
  """
  fields = dict(flatten(config))
  builder = BUILDERS.get(str(fields.get("data.dataset")), TableBuilder)  # a mistaken one declares nothing
  composer = str(fields.get("model.composer"))
  options = COMPOSERS.get(composer, Composer).options
  needed = RULES | {f"data.{name}": rule for name, rule in builder.OPTIONS.items()}
  rules = needed | {COMPOSER_OPTIONS + name: rule for name, rule in options.items()}
  problems = [f"config.{name} is missing" for name in needed if name not in fields]
  for name in (name for name in fields if name not in rules):
    option = name.removeprefix(COMPOSER_OPTIONS)
    if option == name:
      problems.append(f"config.{name} is no field of a run with this data set{nearest(name, rules)}")
    elif composer in COMPOSERS:
      known = ", ".join(options) or "none"
      problems.append(f"config.{name} is no option of {composer}, which has: {known}{nearest(option, options)}")
  expected = {name: rule(fields[name]) for name, rule in rules.items() if name in fields}
  problems += [_mistake(name, fields[name], wanted) for name, wanted in expected.items() if wanted]
  # What goes together is asked of fields that are right by themselves.
  right = {name: fields[name] for name, wanted in expected.items() if not wanted}
  for together in (*TOGETHER, *(rule.below("data.") for rule in builder.TOGETHER), even_batch(num_devices)):
    names = (together.field, *together.others)
    if right.keys() >= set(names) and (wanted := together.expected(*(right[name] for name in names))):
      problems.append(_mistake(together.field, right[together.field], wanted))
  if problems:
    raise InputError("\n".join(problems))


def _mistake(name: str, value: Any, expected: str) -> str:
  shown = repr(value)
  shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
  return f"config.{name} is {shown}, expected {expected}"
