"""Triplets of data sets that list their queries."""

from collections.abc import Sequence
import functools

import numpy as np

from data_pipelines.input_error import InputError
from data_pipelines.samplers.siblings import in_groups
from data_pipelines.tables import MakeRng, QueryTable, Triplet


class ListedSampler:
  """Every listed query once an epoch. Where several images have the target's label, or several texts, one is drawn.

  Of given negatives the first stays first, and the others come in random order.
  """

  triplets_per_item = 1

  def __init__(self, queries: QueryTable, labels: Sequence[str]):
    """`labels` belong to the image table that the queries refer to."""
    self._queries = queries
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
      rows.setdefault(label, []).append(row)
    self._targets = [rows[label] for label in queries.target_labels]
    self._negatives = [[rows[label][0] for label in own if label in rows] for own in queries.negatives]
    self.num_items = len(queries)

  def sample(self, item: int, make_rng: MakeRng) -> Sequence[Triplet]:
    """The query's one triplet."""
    return [self._triplet(item, make_rng)]

  def siblings(self, rng: np.random.Generator, num: int) -> Sequence[Triplet]:
    """Groups of queries with one reference and targets of different labels.

    Raises InputError where no reference has two such queries.
    """
    if not self._by_reference:
      raise InputError("config.data.siblings_per_batch: no reference has queries for two targets, expected 0")
    return in_groups(self._draw_group, rng, num)

  @functools.cached_property
  def _by_reference(self) -> Sequence[Sequence[int]]:
    """The queries of each reference that has them for different targets."""
    items: dict[int, list[int]] = {}
    for item, reference in enumerate(self._queries.references.tolist()):
      items.setdefault(reference, []).append(item)
    labels = self._queries.target_labels
    return [own for own in items.values() if len({labels[item] for item in own}) > 1]

  def _draw_group(self, rng: np.random.Generator, most: int) -> Sequence[Triplet]:
    items = self._by_reference[int(rng.integers(len(self._by_reference)))]
    of_label = {self._queries.target_labels[item]: item for item in rng.permutation(items).tolist()}
    return [self._triplet(item, lambda: rng) for item in list(of_label.values())[:most]]

  def _triplet(self, item: int, make_rng: MakeRng) -> Triplet:
    targets = self._targets[item]
    negatives = self._negatives[item] if self._negatives else []
    texts = [self._queries.texts[item], *(self._queries.alternatives[item] if self._queries.alternatives else ())]
    rng = make_rng() if len(targets) > 1 or len(negatives) > 2 or len(texts) > 1 else None
    target = targets[rng.integers(len(targets))] if rng and len(targets) > 1 else targets[0]
    if rng and len(negatives) > 2:
      negatives = [negatives[0], *(negatives[1 + place] for place in rng.permutation(len(negatives) - 1))]
    text = texts[rng.integers(len(texts))] if rng and len(texts) > 1 else texts[0]
    return Triplet(int(self._queries.references[item]), target, text, tuple(negatives))

  def texts(self) -> Sequence[str]:
    """The texts of all queries, and what may stand for them."""
    others = (text for own in self._queries.alternatives for text in own)
    return [*self._queries.texts, *others] if self._queries.alternatives else self._queries.texts
