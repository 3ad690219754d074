"""Rules for fields of a configuration. A rule is a function of a value: what was expected, or "" for a right value."""

from collections.abc import Callable, Collection
import dataclasses
import difflib
import math
from typing import Any

Rule = Callable[[Any], str]


@dataclasses.dataclass(frozen=True)
class Together:
  """A rule for a field and others beside it; it is asked where each of them is right by itself.

  `expected(value, *values of others)` is what was expected of `field`, or "" where they go together.
  """

  field: str
  others: tuple[str, ...]
  expected: Callable[..., str]

  def below(self, prefix: str) -> "Together":
    """The same rule with `prefix` before each field's name."""
    return Together(prefix + self.field, tuple(prefix + name for name in self.others), self.expected)


def only(right: Any, when: Callable[..., bool], why: str) -> Callable[..., str]:
  """For `Together`: `right` is the only right value where `when(*values of others)` holds; `why` says so in words."""
  shown = "nothing" if right == "" else right
  return lambda value, *others: f"{shown} {why}" if when(*others) and value != right else ""


LARGEST = 2**31 - 1  # steps and rows are counted in 32 bits
LARGEST_NUMBER = 1e30  # float32 holds it


def one_of(choices: Collection[str]) -> Rule:
  """One of some strings, or keys of a table; otherwise all of them, and the nearest."""

  def rule(value: Any) -> str:
    if isinstance(value, str) and value in choices:
      return ""
    return f"one of {', '.join(choices)}{nearest(value, choices)}"

  return rule


def nearest(value: Any, choices: Collection[str]) -> str:
  """ " (did you mean 'that'?)" where one of `choices` looks like the value."""
  near = difflib.get_close_matches(value[:100], choices, n=1, cutoff=0.5) if isinstance(value, str) else []
  return f" (did you mean {near[0]!r}?)" if near else ""


def whole_number(lowest: int) -> Rule:
  """A whole number from `lowest` on."""

  def rule(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
      return "a whole number"
    if value < lowest:
      return f"at least {lowest}"
    return "" if value <= LARGEST else f"at most {LARGEST:,}"

  return rule


def number(holds: Callable[[float], bool], expected: str) -> Rule:
  """A finite number for which `holds` is true; `expected` says so in words."""

  def rule(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
      return "a number"
    if isinstance(value, float) and not math.isfinite(value):
      return "a finite number"
    if value > LARGEST_NUMBER:
      return f"at most {LARGEST_NUMBER}"
    return "" if holds(value) else expected

  return rule


def several(rule: Rule, *, distinct: bool = False) -> Rule:
  """One value or more, in a sequence, for each of which `rule` holds; with `distinct` no value twice."""

  def rule_of_each(values: Any) -> str:
    if not isinstance(values, list | tuple) or not values:
      return "a tuple of one value or more"
    wrong = [expected for expected in map(rule, values) if expected]
    if wrong:
      return f"of each value {wrong[0]}"
    return "each value once" if distinct and len(set(values)) < len(values) else ""

  return rule_of_each


def boolean(value: Any) -> str:
  """True or False."""
  return "" if isinstance(value, bool) else "True or False"


def text(value: Any) -> str:
  """A string, which may be empty."""
  if not isinstance(value, str):
    return "a string"
  return "a string without a zero byte" if "\0" in value else ""


NOT_NEGATIVE = number(lambda value: value >= 0, "at least 0")
POSITIVE = number(lambda value: value > 0, "above 0")
FRACTION = number(lambda value: 0 <= value < 1, "at least 0 and below 1")
SHARE = number(lambda value: 0 < value <= 1, "above 0 and at most 1")
SHARE_OR_NONE = number(lambda value: 0 <= value <= 1, "from 0 to 1")
