import numpy as np

from data_pipelines.samplers import ListedSampler
from data_pipelines.tables import QueryTable, Triplet


def test_targets_with_one_label_are_equally_likely_and_one_alone_needs_no_generator():
  queries = QueryTable(np.array([0, 1]), ["any", "own"], ["cat", "dog"], ["", ""])
  sampler = ListedSampler(queries, ["cat", "dog", "cat"])
  rng = np.random.default_rng(0)
  targets = [sampler.sample(0, lambda: rng)[0].target for _ in range(1000)]
  assert set(targets) == {0, 2} and 430 < targets.count(0) < 570

  def no_generator():
    raise AssertionError("a generator was made")

  assert sampler.sample(1, no_generator) == [Triplet(1, 1, "own")]
