from collections import Counter
from functools import partial

import numpy as np
import pytest

from data_pipelines.samplers import ModificationSampler
from data_pipelines.tables import QueryTable, Triplet, TripletSampler

QUERIES = QueryTable(
  references=np.array([0, 0, 1, 2]),
  texts=["add a cube", "remove the sphere", "remove the sphere", "remove the sphere"],
  target_labels=["1", "2", "3", "0"],
  groups=["0", "1", "1", "1"],
)


@pytest.fixture
def sampler():
  return ModificationSampler(QUERIES, ["0", "1", "2", "3"])


def test_an_item_is_a_modification(sampler):
  assert isinstance(sampler, TripletSampler)
  assert sampler.num_items == 2
  assert sampler.sample(0, lambda: np.random.default_rng(0)) == [Triplet(0, 1, "add a cube")]


def test_pairs_of_a_modification_are_equally_likely(sampler):
  rng = np.random.default_rng(0)
  counts = Counter(tuple(sampler.sample(1, lambda: rng)[0][:2]) for _ in range(3000))
  assert counts.keys() == {(0, 2), (1, 3), (2, 0)}
  assert all(count / 3000 == pytest.approx(1 / 3, abs=0.04) for count in counts.values())


def test_the_same_random_numbers_give_the_same_triplets(sampler):
  first, second = ([sampler.sample(1, partial(np.random.default_rng, i)) for i in range(20)] for _ in range(2))
  assert first == second
