"""Parts of labels: MIT-States' adjectives and nouns, and the words that tell two Fashion200k captions apart."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
import itertools

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


def replacement_texts(captions: Iterable[str]) -> dict[str, None]:
  """Every `replacement_text` between children of one parent, in the order of the families.

  Families of many captions with the same words to change, as products of 20 colours are, cost each pair of words once.
  """
  texts: dict[str, None] = {}
  done: set[frozenset[str]] = set()
  for parent, children in families(captions).items():
    words = _words_beside(parent, children)
    if words is None:
      texts |= dict.fromkeys(itertools.starmap(replacement_text, itertools.permutations(children, 2)))
    elif (known := frozenset(words)) not in done:
      done.add(known)
      texts |= dict.fromkeys(f"replace {old} with {new}" for old, new in itertools.permutations(words, 2))
  return texts


def _words_beside(parent: str, children: Sequence[str]) -> Sequence[str] | None:
  """The word that each child has beside its parent's words, where that is one each and no two have the same.

  A text between two children then names their two words. None for other families: a word may have been deleted inside
  longer ones, or stand elsewhere in another child.
  """
  kept = parent.split()
  words: dict[str, None] = {}
  for child in children:
    own = [word for word in child.split() if word not in kept]
    if len(set(own)) != 1 or [word for word in child.split() if word != own[0]] != kept:
      return None
    words[own[0]] = None
  return list(words) if len(words) == len(children) else None
