"""What labels say: MIT-States' adjectives and nouns, and what leads from one Fashion200k caption to another."""

from collections.abc import Sequence


def split_label(label: str) -> tuple[str, str]:
  """The adjective and the noun of a MIT-States label."""
  adjective, noun = label.split(" ")
  return adjective, noun


def replacement_text(reference_caption: str, target_caption: str) -> str:
  """ "replace X with Y": the first word of each caption that the other lacks, its last word where there is none."""
  reference, target = reference_caption.split(), target_caption.split()
  return f"replace {_first_not_in(target, reference)} with {_first_not_in(reference, target)}"


def _first_not_in(other: Sequence[str], words: Sequence[str]) -> str:
  return next((word for word in words if word not in other), words[-1])
