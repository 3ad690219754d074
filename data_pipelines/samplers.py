"""Training triplets of data sets that list them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
import itertools

import numpy as np

from data_pipelines.input_error import InputError
from data_pipelines.tables import MakeRng, QueryTable, Triplet
from data_pipelines.texts.labels import families, replacement_text, split_label


class ListedSampler:
  """Every listed query once an epoch. Where several images have the target's label, one of them is drawn."""

  triplets_per_item = 1

  def __init__(self, queries: QueryTable, labels: Sequence[str]):
    """`labels` are those of the image table that the queries refer to."""
    self._queries = queries
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
      rows.setdefault(label, []).append(row)
    self._targets = [rows[label] for label in queries.target_labels]

  @property
  def num_items(self) -> int:
    """How many queries are listed."""
    return len(self._queries)

  def sample(self, item: int, make_rng: MakeRng) -> Sequence[Triplet]:
    """The query's one triplet."""
    targets = self._targets[item]
    target = targets[make_rng().integers(len(targets))] if len(targets) > 1 else targets[0]
    return [Triplet(int(self._queries.references[item]), target, self._queries.texts[item])]

  def texts(self) -> Sequence[str]:
    """The texts of all queries."""
    return self._queries.texts


class ModificationSampler:
  """Every modification once an epoch, with one of its image pairs, whatever the number of its pairs."""

  triplets_per_item = 1

  def __init__(self, queries: QueryTable, labels: Sequence[str]):
    """The queries of a modification are those of a group; `labels` are those of the image table that they refer to."""
    self._pairs = ListedSampler(queries, labels)
    self._members: dict[str, list[int]] = {}
    for row, group in enumerate(queries.groups):
      self._members.setdefault(group, []).append(row)
    self._modifications = list(self._members)

  @property
  def num_items(self) -> int:
    """How many modifications there are."""
    return len(self._modifications)

  def sample(self, item: int, make_rng: MakeRng) -> Sequence[Triplet]:
    """One of the modification's pairs."""
    rng = make_rng()
    members = self._members[self._modifications[item]]
    return self._pairs.sample(members[rng.integers(len(members))], lambda: rng)

  def texts(self) -> Sequence[str]:
    """The texts of all modifications."""
    return self._pairs.texts()


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


class AdjectiveSampler:
  """From any image to images of the same noun in two other states.

  One item is a reference image, and gives two triplets: their target adjectives are distinct, uniform over the noun's
  adjectives, and their target images uniform among those of the adjective. So a batch holds the same reference with
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
    if not self._references:
      raise InputError("no noun has images with two different adjectives: there is nothing to learn from")

  @property
  def num_items(self) -> int:
    """How many images can be references."""
    return len(self._references)

  def sample(self, item: int, make_rng: MakeRng) -> Sequence[Triplet]:
    """Two triplets with the same reference."""
    rng = make_rng()
    reference = self._references[item]
    noun = split_label(self._labels[reference])[1]
    adjectives = self._adjectives[noun]
    drawn = rng.choice(len(adjectives), self.triplets_per_item, replace=False)
    return [self._triplet(reference, adjectives[i], noun, rng) for i in drawn]

  def _triplet(self, reference: int, adjective: str, noun: str, rng: np.random.Generator) -> Triplet:
    rows = self._rows[f"{adjective} {noun}"]
    text = f"{adjective} {noun}" if self._complete_text else adjective
    return Triplet(reference, rows[rng.integers(len(rows))], text)

  def texts(self) -> Sequence[str]:
    """All labels, as the original's vocabulary holds the nouns too, and the adjectives where texts are such."""
    adjectives = () if self._complete_text else (split_label(label)[0] for label in self._labels)
    return list(dict.fromkeys([*self._labels, *adjectives]))
