"""Parts of labels: MIT-States' adjectives and nouns, and the words that tell two Fashion200k captions apart."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from jaxtyping import Int
import numpy as np


def label_numbers(labels: Sequence[str]) -> Int[np.ndarray, " num"]:
  """int32 numbers that are equal where labels are."""
  return np.unique(np.asarray(labels), return_inverse=True)[1].astype(np.int32)


def split_label(label: str) -> tuple[str, str]:
  """The adjective and the noun of a MIT-States label."""
  adjective, noun = label.split(" ")
  return adjective, noun


def replacement_text(reference_caption: str, target_caption: str) -> str:
  """ "replace X with Y": the first word of each caption that the other lacks, its last word where there is none."""
  reference, target = reference_caption.split(), target_caption.split()
  replaced = next((word for word in reference if word not in target), reference[-1])
  replacement = next((word for word in target if word not in reference), target[-1])
  return f"replace {replaced} with {replacement}"


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
