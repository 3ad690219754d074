"""Triplets between images whose captions differ in one word."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
import itertools

import numpy as np

from data_pipelines.input_error import InputError
from data_pipelines.tables import MakeRng, Triplet
from data_pipelines.texts.labels import families, replacement_text


class CaptionSampler:
  """From any image to an image of another child of one of its caption's parents.

  A parent is drawn uniformly, then a child; both again when it is the reference's own caption, so that parents with
  many children are drawn somewhat more often. Images whose caption has no siblings are never references.
  """

  triplets_per_item = 1

  def __init__(self, captions: Sequence[str], *, complete_text: bool):
    """`captions` are those of the image table; `complete_text` says whether texts are target captions or "replace"."""
    self._captions = list(captions)
    self._complete_text = complete_text
    self._rows: dict[str, list[int]] = defaultdict(list)
    for row, caption in enumerate(captions):
      self._rows[caption].append(row)
    self._families = families(self._rows)
    self._parents: dict[str, list[str]] = defaultdict(list)
    for parent, children in self._families.items():
      for caption in children:
        self._parents[caption].append(parent)
    self._references = [row for row, caption in enumerate(captions) if caption in self._parents]
    if not self._references:
      raise InputError("no two captions differ in one word: there is nothing to learn from")

  @property
  def num_items(self) -> int:
    """How many images can be references."""
    return len(self._references)

  def sample(self, item: int, make_rng: MakeRng) -> Sequence[Triplet]:
    """One triplet from the item's image."""
    rng = make_rng()
    reference = self._references[item]
    caption = self._captions[reference]
    target_caption = self._draw_sibling(caption, rng)
    rows = self._rows[target_caption]
    return [Triplet(reference, rows[rng.integers(len(rows))], self._text(caption, target_caption))]

  def _draw_sibling(self, caption: str, rng: np.random.Generator) -> str:
    parents = self._parents[caption]
    while True:
      children = self._families[parents[rng.integers(len(parents))]]
      child = children[rng.integers(len(children))]
      if child != caption:
        return child

  def _text(self, caption: str, target_caption: str) -> str:
    return target_caption if self._complete_text else replacement_text(caption, target_caption)

  def texts(self) -> Sequence[str]:
    """All captions (the original's vocabulary is theirs), and every "replace X with Y" where texts are such."""
    replacements = () if self._complete_text else self._replacements()
    return list(dict.fromkeys(itertools.chain(self._rows, replacements)))

  def _replacements(self) -> Iterator[str]:
    for children in self._families.values():
      yield from itertools.starmap(replacement_text, itertools.permutations(children, 2))
