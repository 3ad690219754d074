"""Triplets of data sets that list their queries."""

from collections.abc import Sequence

from data_pipelines.tables import MakeRng, QueryTable, Triplet


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
    self.num_items = len(queries)

  def sample(self, item: int, make_rng: MakeRng) -> Sequence[Triplet]:
    """The query's one triplet."""
    targets = self._targets[item]
    target = targets[make_rng().integers(len(targets))] if len(targets) > 1 else targets[0]
    return [Triplet(int(self._queries.references[item]), target, self._queries.texts[item])]

  def texts(self) -> Sequence[str]:
    """The texts of all queries."""
    return self._queries.texts
