"""Triplets in groups of siblings, whose targets share all but what the texts change: each is the others' negative."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from data_pipelines.tables import Triplet

GROUP = 4  # most triplets of a group: a target then has three siblings against it, and a batch has several groups


@runtime_checkable
class SiblingSampler(Protocol):
  """A sampler that also draws groups of siblings."""

  def siblings(self, rng: np.random.Generator, num: int) -> Sequence[Triplet]:
    """`num` triplets, in groups of at most GROUP whose targets have different labels.

    Raises InputError where no two targets are siblings.
    """
    ...


def in_groups(
  draw: Callable[[np.random.Generator, int], Sequence[Triplet]], rng: np.random.Generator, num: int
) -> list[Triplet]:
  """`num` triplets from `draw(rng, most)`, which gives one group of at most `most` triplets, and of one or more."""
  triplets: list[Triplet] = []
  while len(triplets) < num:
    triplets += draw(rng, min(GROUP, num - len(triplets)))
  return triplets


def others(rng: np.random.Generator, num: int, most: int) -> list[tuple[int, int]]:
  """Pairs of different numbers below `num`, which is two or more: at most `most`, and all first numbers different."""
  firsts = rng.choice(num, min(most, num), replace=False)
  seconds = rng.integers(num - 1, size=len(firsts))
  return [(int(first), int(second + (second >= first))) for first, second in zip(firsts, seconds, strict=True)]
