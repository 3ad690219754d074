"""Triplets of data sets whose modifications lead between several pairs of images."""

from collections.abc import Sequence

from data_pipelines.samplers.listed import ListedSampler
from data_pipelines.tables import MakeRng, QueryTable, Triplet


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
