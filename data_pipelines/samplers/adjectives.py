"""Triplets between images of one noun with different adjectives."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from data_pipelines.input_error import InputError
from data_pipelines.samplers.siblings import in_groups, others
from data_pipelines.tables import MakeRng, Triplet
from data_pipelines.texts.labels import split_label


class AdjectiveSampler:
  """From any image to images of the same noun in two other states.

  One item is a reference image, and gives two triplets: their target adjectives are distinct, uniform over the noun's
  adjectives, and their target images uniform among the adjective's. So a batch holds the same reference with
  different texts, and only the text tells the targets apart. Images whose noun has one adjective are never references.
  """

  triplets_per_item = 2

  def __init__(self, labels: Sequence[str], *, complete_text: bool):
    """`complete_text` says whether texts are "adjective noun" or the adjective alone."""
    self._labels = list(labels)
    self._complete_text = complete_text
    self._rows: dict[str, list[int]] = defaultdict(list)
    adjectives = defaultdict(set)
    for row, label in enumerate(labels):
      self._rows[label].append(row)
      adjective, noun = split_label(label)
      adjectives[noun].add(adjective)
    self._adjectives = {noun: sorted(own) for noun, own in adjectives.items()}
    self._references = [row for row, label in enumerate(labels) if len(self._adjectives[split_label(label)[1]]) > 1]
    self.num_items = len(self._references)
    if not self._references:
      raise InputError("no noun has images with two different adjectives: there is nothing to learn from")

  def sample(self, item: int, make_rng: MakeRng) -> Sequence[Triplet]:
    """Two triplets with the same reference."""
    rng = make_rng()
    reference = self._references[item]
    noun = split_label(self._labels[reference])[1]
    adjectives = self._adjectives[noun]
    drawn = rng.choice(len(adjectives), self.triplets_per_item, replace=False)
    return [self._triplet(rng, reference, adjectives[i], noun) for i in drawn]

  def siblings(self, rng: np.random.Generator, num: int) -> Sequence[Triplet]:
    """Groups of targets that show one noun in different states; the references show it in other states."""
    return in_groups(self._draw_group, rng, num)

  def _draw_group(self, rng: np.random.Generator, most: int) -> Sequence[Triplet]:
    noun = split_label(self._labels[self._references[rng.integers(self.num_items)]])[1]
    adjectives = self._adjectives[noun]
    return [
      self._triplet(rng, self._any_image(rng, f"{adjectives[reference]} {noun}"), adjectives[target], noun)
      for target, reference in others(rng, len(adjectives), most)
    ]

  def _triplet(self, rng: np.random.Generator, reference: int, adjective: str, noun: str) -> Triplet:
    """From an image to any image of its noun in another state."""
    label = f"{adjective} {noun}"
    return Triplet(reference, self._any_image(rng, label), label if self._complete_text else adjective)

  def _any_image(self, rng: np.random.Generator, label: str) -> int:
    rows = self._rows[label]
    return rows[rng.integers(len(rows))]

  def texts(self) -> Sequence[str]:
    """All labels, as the original's vocabulary holds the nouns too, and the adjectives where texts are such."""
    adjectives = () if self._complete_text else (split_label(label)[0] for label in self._labels)
    return list(dict.fromkeys([*self._labels, *adjectives]))
