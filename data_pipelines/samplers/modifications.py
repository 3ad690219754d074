"""Triplets of data sets whose modifications lead between several pairs of images."""

from collections.abc import Sequence

from data_pipelines.samplers.listed import ListedSampler
from data_pipelines.tables import MakeRng, QueryTable, Triplet


class ModificationSampler(ListedSampler):
  """Every modification once an epoch, with one of its image pairs, whatever the number of its pairs."""

  def __init__(self, queries: QueryTable, labels: Sequence[str]):
    """A modification's queries are a group; `labels` belong to the image table that the queries refer to."""
    super().__init__(queries, labels)
    self._members: dict[str, list[int]] = {}
    for row, group in enumerate(queries.groups):
      self._members.setdefault(group, []).append(row)
    self._modifications = list(self._members)
    self.num_items = len(self._modifications)

  def sample(self, item: int, make_rng: MakeRng) -> Sequence[Triplet]:
    """One of the modification's pairs."""
    rng = make_rng()
    members = self._members[self._modifications[item]]
    return super().sample(members[rng.integers(len(members))], lambda: rng)
