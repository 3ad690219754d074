import numpy as np
import pytest

from composeret_jax.retrieval import NO_ROW, rank_gallery


def test_query_image_is_never_its_own_answer():
  gallery = np.eye(4, dtype=np.float32)
  ranks = rank_gallery(queries=gallery[:1], gallery=gallery, exclude=np.array([0]), k=4)
  assert ranks.tolist() == [[1, 2, 3]]  # ties keep gallery order; row 0, the query itself, is gone


@pytest.mark.parametrize("gallery_block", [7, 16, 64])
@pytest.mark.parametrize("query_block", [3, 32])
def test_blocks_give_the_full_sort(query_block, gallery_block):
  rng = np.random.default_rng(0)
  queries = rng.integers(-2, 3, (10, 4)).astype(np.float32)  # small integers: many ties
  gallery = rng.integers(-2, 3, (50, 4)).astype(np.float32)
  exclude = rng.integers(0, 50, 10)
  ranks = rank_gallery(queries, gallery, k=20, exclude=exclude, query_block=query_block, gallery_block=gallery_block)
  for query, excluded, found in zip(queries, exclude, ranks, strict=True):
    order = np.argsort(-(gallery @ query), kind="stable")
    assert found.tolist() == [row for row in order if row != excluded][:20]


def test_negative_similarities_beat_the_padding():
  queries, gallery = -np.ones((1, 2), np.float32), np.ones((3, 2), np.float32)
  assert rank_gallery(queries, gallery, k=3, gallery_block=2).tolist() == [[0, 1, 2]]


def test_a_query_ranks_its_own_group_only():
  gallery = np.array([[1.0], [4.0], [3.0], [2.0], [5.0]], np.float32)
  groups = {"query_groups": np.array([0, 1]), "gallery_groups": np.array([0, 1, 0, 0, -1])}
  ranks = rank_gallery(np.ones((2, 1), np.float32), gallery, k=4, gallery_block=2, **groups)
  assert ranks.tolist() == [[2, 3, 0, NO_ROW], [1, NO_ROW, NO_ROW, NO_ROW]]
  ranks = rank_gallery(np.ones((2, 1), np.float32), gallery, k=2, exclude=np.array([2, 0]), **groups)
  assert ranks.tolist() == [[3, 0], [1, NO_ROW]]  # the second query's own image is in the other group
