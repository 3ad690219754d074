import numpy as np
import pytest

from composeret_jax import protocols

GALLERY = ["old cat", "new cat", "old dog", "new dog", "wet cat"]


def test_same_label_counts_queries_with_a_hit_among_the_first_k():
  ranks = np.array([[1, 0, 2, 3], [3, 2, 1, 0]])
  metrics = protocols.same_label(ranks, GALLERY, ["new cat", "old cat"])
  assert metrics == {"R@1": 0.5, "R@5": 1.0, "R@10": 1.0, "R@50": 1.0, "R@100": 1.0}


def test_a_target_that_is_not_found_is_not_counted():
  metrics = protocols.same_label(np.array([[1, 2]]), GALLERY, ["old cat"])
  assert set(metrics.values()) == {0.0}


def test_mit_states_counts_adjectives_and_nouns_too():
  ranks = np.array([[3, 0, 1], [4, 2, 0], [2, 3, 1]])
  metrics = protocols.mit_states(ranks, GALLERY, ["new cat", "old cat", "wet cat"])
  assert metrics["R@1"] == 0.0
  assert metrics["adjective/R@1"] == pytest.approx(1 / 3)  # "new dog" has the adjective of "new cat"
  assert metrics["noun/R@1"] == pytest.approx(1 / 3)  # "wet cat" has the noun of "old cat"
  assert metrics["R@5"] == pytest.approx(2 / 3)
