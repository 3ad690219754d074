import os
import subprocess
import sys

import numpy as np
import pytest

from composeret_jax.evaluation import retrieval
from composeret_jax.evaluation.ranking import Answers, NO_ROW
from composeret_jax.evaluation.retrieval import rank_gallery


def test_query_image_is_never_its_own_answer():
  gallery = np.eye(4, dtype=np.float32)
  ranks = rank_gallery(queries=gallery[:1], gallery=gallery, exclude=np.array([0]), k=4).rows
  assert ranks.tolist() == [[1, 2, 3]]  # ties keep gallery order; row 0, the query itself, is gone


@pytest.mark.parametrize("gallery_block", [7, 16, 64])
@pytest.mark.parametrize("query_block", [3, 32])
def test_blocks_give_the_full_sort(query_block, gallery_block):
  rng = np.random.default_rng(0)
  queries = rng.integers(-2, 3, (10, 4)).astype(np.float32)  # small integers: many ties
  gallery = rng.integers(-2, 3, (50, 4)).astype(np.float32)
  exclude = rng.integers(0, 50, 10)
  ranks = rank_gallery(
    queries, gallery, k=20, exclude=exclude, query_block=query_block, gallery_block=gallery_block
  ).rows
  for query, excluded, found in zip(queries, exclude, ranks, strict=True):
    order = np.argsort(-(gallery @ query), kind="stable")
    assert found.tolist() == [row for row in order if row != excluded][:20]


def test_negative_similarities_beat_the_padding():
  queries, gallery = -np.ones((1, 2), np.float32), np.ones((3, 2), np.float32)
  assert rank_gallery(queries, gallery, k=3, gallery_block=2).rows.tolist() == [[0, 1, 2]]


def test_a_query_ranks_its_own_group_only():
  gallery = np.array([[1.0], [4.0], [3.0], [2.0], [5.0]], np.float32)
  groups = {"query_groups": np.array([0, 1]), "gallery_groups": np.array([0, 1, 0, 0, -1])}
  ranks = rank_gallery(np.ones((2, 1), np.float32), gallery, k=4, gallery_block=2, **groups).rows
  assert ranks.tolist() == [[2, 3, 0, NO_ROW], [1, NO_ROW, NO_ROW, NO_ROW]]
  ranks = rank_gallery(np.ones((2, 1), np.float32), gallery, k=2, exclude=np.array([2, 0]), **groups).rows
  assert ranks.tolist() == [[3, 0], [1, NO_ROW]]  # the second query's own image is in the other group


def test_a_query_ranks_all_groups_but_its_own():
  gallery = np.array([[1.0], [4.0], [3.0], [2.0], [5.0]], np.float32)
  groups = {"query_groups": np.array([0, 1, 0]), "gallery_groups": np.array([0, 1, 0, 0, 2]), "other_groups": True}
  ranks = rank_gallery(np.array([[1.0], [1.0], [-1.0]], np.float32), gallery, k=3, gallery_block=2, **groups).rows
  assert ranks.tolist() == [[4, 1, NO_ROW], [4, 2, 3], [1, 4, NO_ROW]]


@pytest.mark.parametrize("k", [1, 3, 8])
def test_looking_into_the_best_chunks_only_is_exact(k):
  rng = np.random.default_rng(1)
  queries = rng.integers(-2, 3, (20, 3)).astype(np.float32)  # few distinct scores: ties across chunks
  gallery = rng.integers(-2, 3, (1000, 3)).astype(np.float32)
  ranks = rank_gallery(queries, gallery, k=k, gallery_block=512).rows
  assert ranks.tolist() == np.argsort(-(queries @ gallery.T), axis=1, kind="stable")[:, :k].tolist()


@pytest.mark.parametrize("other_groups", [False, True])
def test_one_cpu_ranks_and_counts_ties_as_any_devices_do(monkeypatch, other_groups):
  rng = np.random.default_rng(0)
  queries, gallery = rng.standard_normal((40, 8), np.float32), rng.standard_normal((300, 8), np.float32)
  gallery[150:] = gallery[rng.integers(0, 150, 150)]  # each score several times
  labels, targets = rng.choice(list("abc"), 300).tolist(), rng.choice(list("abc"), 40)
  options = {
    "exclude": rng.integers(0, 300, 40),
    "query_groups": rng.integers(0, 3, 40),
    "gallery_groups": np.sort(rng.integers(0, 3, 300)),  # blocks without a row of a query's group
    "other_groups": other_groups,
    "answers": Answers.of((labels, [[target] for target in targets])),
  }
  own = rank_gallery(queries, gallery, k=9, query_block=16, gallery_block=64, **options)
  monkeypatch.setattr(retrieval, "stream_on_cpu", retrieval._stream)
  others = rank_gallery(queries, gallery, k=9, query_block=16, gallery_block=64, **options)
  assert own.tied_after.any()
  for field in ("rows", "levels", "tied_after"):
    np.testing.assert_array_equal(getattr(own, field), getattr(others, field))


def test_a_memory_map_is_ranked_as_the_array_is(tmp_path):
  angles = np.arange(50, dtype=np.float32)
  gallery = np.stack([np.cos(angles), np.sin(angles)], axis=1)
  np.save(tmp_path / "gallery.npy", gallery)
  mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
  assert rank_gallery(gallery[:5], mapped, k=1, gallery_block=16).rows.tolist() == [[0], [1], [2], [3], [4]]


FOUR_DEVICES = """
import sys
import jax
import numpy as np
from composeret_jax.evaluation.ranking import Answers
from composeret_jax.evaluation.retrieval import rank_gallery

assert jax.device_count() == 4
rng = np.random.default_rng(0)
queries = rng.integers(-2, 3, (10, 4)).astype(np.float32)  # small integers: many ties
gallery = rng.integers(-2, 3, (203, 4)).astype(np.float32)
exclude, query_groups, gallery_groups = rng.integers(0, 203, 10), rng.integers(0, 3, 10), rng.integers(0, 3, 203)
groups = dict(query_groups=query_groups, gallery_groups=gallery_groups)
labels, targets = rng.choice(list("abc"), 203), rng.choice(list("abc"), 10)
groups["answers"] = Answers.of((labels.tolist(), [[target] for target in targets]))
for k, block in ((3, 160), (20, 16), (20, 50), (60, 8), (100, 1000)):
  ranks = rank_gallery(queries, gallery, k=k, exclude=exclude, query_block=4, gallery_block=block).rows
  grouped = rank_gallery(queries, gallery, k=k, exclude=exclude, query_block=4, gallery_block=block, **groups)
  for i, query in enumerate(queries):
    order = [row for row in np.argsort(-(gallery @ query), kind="stable") if row != exclude[i]]
    assert ranks[i].tolist() == order[:k], (k, block, i)
    own = [row for row in order if gallery_groups[row] == query_groups[i]][:k]
    assert grouped.rows[i].tolist() == own + [-1] * (k - len(own)), (k, block, i)
    scores, others = gallery @ query, set(np.flatnonzero(gallery_groups == query_groups[i])) - {exclude[i], *own}
    after = [row for row in others if scores[row] == scores[own[-1]]]
    right = set(after) & set(np.flatnonzero(labels == targets[i]))
    assert grouped.tied_after[i].tolist() == [len(after), len(right)], (k, block, i)
"""


def test_a_gallery_over_four_devices_gives_the_full_sort():
  environment = os.environ | {
    "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4",
    "JAX_PLATFORMS": "cpu",
  }
  result = subprocess.run([sys.executable, "-c", FOUR_DEVICES], env=environment, capture_output=True, text=True)
  assert result.returncode == 0, result.stderr
