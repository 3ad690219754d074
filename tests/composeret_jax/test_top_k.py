"""The best scores of blocks of columns, against a stable sort of all of them."""

import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax import top_k as module
from composeret_jax.top_k import NO_COLUMN, RunningTopK, scores_above, top_k_of_blocks


def found_in(scores, width, block, ranks=None):
  """RunningTopK over blocks of columns."""
  running = RunningTopK(len(scores), width, ranks)
  for start in range(0, scores.shape[1], block):
    part = jnp.asarray(scores[:, start : start + block])
    running.add(*scores_above(part, running.threshold), start)
  return running.result()


@pytest.mark.parametrize("block", [5, 32, 100, 500])
@pytest.mark.parametrize("width", [1, 7, 60])
def test_the_best_of_blocks_are_those_of_a_stable_sort(width, block):
  rng = np.random.default_rng(0)
  scores = rng.integers(-40, 40, (9, 500)).astype(np.float32) / 8 + 0.0  # ties, negative ones, and scores that grow:
  scores[3] = np.linspace(-1, 1, 500)
  scores[4] = 1
  scores[5, 40:] = -np.inf  # fewer than 60 that count
  best, columns = found_in(scores, width, block)
  expected = np.argsort(-scores, axis=1, kind="stable")[:, :width]
  np.testing.assert_array_equal(best, np.take_along_axis(scores, expected, axis=1))
  expected[np.isinf(best)] = NO_COLUMN
  np.testing.assert_array_equal(columns, expected)


@pytest.mark.parametrize("block", [5, 32, 100, 500])
@pytest.mark.parametrize("width", [1, 7, 60])
def test_ties_keep_the_order_of_ranks(width, block):
  rng = np.random.default_rng(1)
  ranked = rng.integers(-40, 40, (9, 500)).astype(np.float32) / 8 + 0.0  # in the order of the ranks
  ranked[3] = np.linspace(-1, 1, 500)
  ranked[4], ranked[6] = 1, 0
  ranked[5, 40:] = -np.inf
  ranks = rng.permutation(500).astype(np.int32)
  best, found = found_in(ranked[:, ranks], width, block, ranks)
  expected = np.argsort(-ranked, axis=1, kind="stable")[:, :width]
  np.testing.assert_array_equal(best, np.take_along_axis(ranked, expected, axis=1))
  expected[np.isinf(best)] = NO_COLUMN
  np.testing.assert_array_equal(found, expected)


def test_blocks_that_hold_few_better_scores_are_not_sorted(monkeypatch):
  sorted_blocks, sort = [], module._block_top_k
  monkeypatch.setattr(module, "_block_top_k", lambda *args: sorted_blocks.append(args) or sort(*args))
  scores = np.random.default_rng(0).standard_normal((4, 64 * 50), np.float32)
  found_in(scores, 8, 64)
  assert len(sorted_blocks) < 5


def test_a_threshold_read_before_earlier_blocks_leaves_nothing_out():
  scores = np.arange(96, dtype=np.float32)[None]
  running = RunningTopK(1, 3)
  made = [(scores_above(jnp.asarray(scores[:, start : start + 32]), running.threshold), start) for start in (0, 32, 64)]
  for block, start in made:
    running.add(*block, start)
  assert running.result()[1].tolist() == [[95, 94, 93]]


def test_parts_of_the_queries_keep_their_own_lists():
  scores = np.random.default_rng(0).standard_normal((6, 80), np.float32)
  blocks = [(start, slice(start, start + 16)) for start in range(0, 80, 16)]

  def score(part, block, threshold):
    return scores_above(jnp.asarray(scores[part, block]), threshold)

  found = top_k_of_blocks(score, [slice(0, 3), slice(3, 6)], 3, blocks, 5)
  columns = np.concatenate([columns for _, columns in found])
  np.testing.assert_array_equal(columns, np.argsort(-scores, axis=1)[:, :5])
