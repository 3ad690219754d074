"""Triplets between images whose captions differ in one word."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from data_pipelines.input_error import InputError
from data_pipelines.samplers.siblings import in_groups, others
from data_pipelines.tables import MakeRng, Triplet
from data_pipelines.texts.labels import families, replacement_text, replacement_texts


class CaptionSampler:
  """From any image to an image of another child of one of its caption's parents.

  A parent is drawn uniformly, then a child; both again when it is the reference's own caption, so that parents with
  many children are drawn somewhat more often. Images whose caption has no siblings are never references.
  """

  triplets_per_item = 1

  def __init__(self, captions: Sequence[str], *, complete_text: bool):
    """`captions` are the image table's; `complete_text` says whether texts are target captions or "replace"."""
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
    self.num_items = len(self._references)
    if not self._references:
      raise InputError(
        f"there are {len(captions):,} training images, and no two of their {len(self._rows):,} captions differ in one "
        "word: there is nothing to learn from, expected some as 'red dress' and 'blue dress'"
      )

  def sample(self, item: int, make_rng: MakeRng) -> Sequence[Triplet]:
    """One triplet from the item's image."""
    rng = make_rng()
    reference = self._references[item]
    caption = sibling = self._captions[reference]
    parents = self._parents[caption]
    while sibling == caption:
      children = self._families[parents[rng.integers(len(parents))]]
      sibling = children[int(rng.integers(len(children)))]
    return [self._triplet(rng, reference, sibling)]

  def siblings(self, rng: np.random.Generator, num: int) -> Sequence[Triplet]:
    """Groups of targets that are children of one parent; the references are other children of it."""
    return in_groups(self._draw_group, rng, num)

  def _draw_group(self, rng: np.random.Generator, most: int) -> Sequence[Triplet]:
    parents = self._parents[self._captions[self._references[rng.integers(self.num_items)]]]
    children = self._families[parents[rng.integers(len(parents))]]
    return [
      self._triplet(rng, self._any_image(rng, children[reference]), children[target])
      for target, reference in others(rng, len(children), most)
    ]

  def _triplet(self, rng: np.random.Generator, reference: int, caption: str) -> Triplet:
    """From an image to any image with a caption."""
    text = caption if self._complete_text else replacement_text(self._captions[reference], caption)
    return Triplet(reference, self._any_image(rng, caption), text)

  def _any_image(self, rng: np.random.Generator, caption: str) -> int:
    rows = self._rows[caption]
    return rows[rng.integers(len(rows))]

  def texts(self) -> Sequence[str]:
    """All captions (the original's vocabulary is theirs), and every "replace X with Y" where texts are such."""
    texts = dict.fromkeys(self._rows)
    return list(texts if self._complete_text else texts | replacement_texts(self._rows))
