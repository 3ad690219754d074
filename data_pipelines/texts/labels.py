"""What labels say: MIT-States' adjectives and nouns, and what leads from one Fashion200k caption to another."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence


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


def families(captions: Iterable[str]) -> Mapping[str, Sequence[str]]:
  """The parents with two or more children among distinct `captions`, and those children.

  A parent is what is left of a caption when every occurrence of one of its words is deleted, inside longer words too.
  """
  children: dict[str, dict[str, None]] = defaultdict(dict)
  for caption in captions:
    for word in caption.split():
      parent = caption.replace(word, "").replace("  ", " ").strip()
      children[parent][caption] = None
  return {parent: list(own) for parent, own in children.items() if len(own) > 1}
