"""Whether the text decides: what queries find among the images that share all but the changed words with the target.

A word of a query is changed when only one of the reference's and the target's label has it. An image is a sibling when
its label has every word that both have, and no more words than the longer of the two. The reference is no sibling.
"""

from collections import defaultdict
from collections.abc import Sequence
import dataclasses
import functools

from jaxtyping import Float, Int
import numpy as np

from composeret_jax.evaluation.ranking import Ranking
from composeret_jax.evaluation.ties import recalls
from data_pipelines.tables import ImageTable, QueryTable

SIBLING_RECALL = "siblings/R@1"
# The share of queries that find an image with the reference's own label first: the text changed nothing.
REFERENCE_LABEL = "reference_label/R@1"


@dataclasses.dataclass(frozen=True)
class Family:
  """Queries with the same siblings: rows of the query table, and of the gallery."""

  queries: Int[np.ndarray, " num_queries"]
  images: Int[np.ndarray, " num_images"]


class Siblings:
  """The siblings of each query of a data set."""

  def __init__(self, gallery: ImageTable, queries: QueryTable, separator: str):
    """`separator` stands between the words of a label."""
    self._references = queries.references
    labels: dict[str, int] = {}
    self._images = np.array([labels.setdefault(label, len(labels)) for label in gallery.labels])
    self._targets = np.array([labels.get(label, -1) for label in queries.target_labels])
    split = functools.cache(lambda label: frozenset(label.split(separator)))
    keys = defaultdict[tuple[frozenset[str], int], list[int]](list)
    for query, (reference, target) in enumerate(zip(queries.references, queries.target_labels, strict=True)):
      own, wanted = split(gallery.labels[reference]), split(target)
      keys[own & wanted, max(len(own), len(wanted))].append(query)
    rows = defaultdict[int, list[int]](list)
    for row, number in enumerate(self._images.tolist()):
      rows[number].append(row)
    words = {number: split(label) for label, number in labels.items()}
    having = defaultdict[str, set[int]](set)
    for number, own in words.items():
      for word in own:
        having[word].add(number)
    self._families = [
      Family(np.array(own), np.array([row for number in sorted(found) for row in rows[number]]))
      for (kept, most), own in keys.items()
      if (found := _labels_with(kept, most, having, words))
    ]

  def metrics(
    self,
    ranking: Ranking,
    queries: Float[np.ndarray, "num_queries dim"],
    gallery: Float[np.ndarray, "num_gallery dim"],
  ) -> dict[str, float]:
    """Metrics of what `queries` found: REFERENCE_LABEL, and SIBLING_RECALL where siblings are.

    The last sense of the answers of `ranking` is what has the reference's own label.
    """
    reference_label = recalls(ranking, (1,), sense=ranking.answers.images.shape[1] - 1)
    recall = self.recall(queries, gallery)
    found = {} if recall is None else {SIBLING_RECALL: recall}
    return {REFERENCE_LABEL: float(reference_label.mean()), **found}

  def recall(
    self, queries: Float[np.ndarray, "num_queries dim"], gallery: Float[np.ndarray, "num_gallery dim"]
  ) -> float | None:
    """The share of queries whose first sibling by inner product has the target's label.

    Siblings with equal scores come first with equal probabilities. Queries whose siblings all have one label are not
    counted; None where no query is.
    """
    values = [self._first_is_right(family, queries, gallery) for family in self._families]
    counted = np.concatenate(values) if values else np.zeros(0)
    counted = counted[~np.isnan(counted)]
    return float(counted.mean()) if len(counted) else None

  def _first_is_right(
    self, family: Family, queries: Float[np.ndarray, "num_queries dim"], gallery: Float[np.ndarray, "num_gallery dim"]
  ) -> Float[np.ndarray, " num_own"]:
    """For each query of a family the probability that its first sibling is right; NaN where nothing can be wrong."""
    scores = queries[family.queries] @ gallery[family.images].T
    scores[family.images == self._references[family.queries, None]] = -np.inf
    is_right = self._images[family.images] == self._targets[family.queries, None]
    is_sibling = scores > -np.inf
    is_first = (scores == scores.max(axis=1, keepdims=True)) & is_sibling
    value = (is_first & is_right).sum(axis=1) / np.maximum(is_first.sum(axis=1), 1)
    decided = (is_right & is_sibling).any(axis=1) & (~is_right & is_sibling).any(axis=1)
    return np.where(decided, value, np.nan)


def _labels_with(
  kept: frozenset[str], most: int, having: dict[str, set[int]], words: dict[int, frozenset[str]]
) -> Sequence[int]:
  """The numbers of the labels that have all words of `kept` and no more than `most` words."""
  found = set.intersection(*(having[word] for word in kept)) if kept else words.keys()
  return [number for number in found if len(words[number]) <= most]
