"""Equal scores count as their expectation: against every order by hand, and against one order where nothing ties."""

import itertools
from math import comb

import numpy as np
import pytest

from composeret_jax.evaluation.protocols import answers_of, count, TIED_SHARE
from composeret_jax.evaluation.ranking import Answers
from composeret_jax.evaluation.reranking import rerank
from composeret_jax.evaluation.retrieval import rank_gallery, rank_subsets
from composeret_jax.evaluation.ties import average_precisions, recalls, relevant_recalls, SMOOTHING, tied_at
from data_pipelines.datasets.prepare import PROTOCOLS
from tests.fakes.rankings import average_precision_of_one_order, recall_of_one_order

AT = (1, 2, 3, 4)


def orders(scores):
  """Every order of the images of one query, best first, in which equal scores stand in any order."""
  runs = [np.flatnonzero(scores == score) for score in sorted(set(scores.tolist()), reverse=True)]
  for parts in itertools.product(*(itertools.permutations(run) for run in runs)):
    yield np.array([row for part in parts for row in part])


def scored(queries, gallery, answers, k, **options):
  """One query a row: small whole numbers, so that scores tie."""
  return rank_gallery(queries, gallery, k=k, query_block=8, gallery_block=4, answers=answers, **options)


@pytest.mark.parametrize("k", [2, 4, 7, 20])  # lists that cut runs, and one that holds all
@pytest.mark.parametrize("seed", range(6))
def test_every_order_of_equal_scores_is_as_likely(k, seed):
  rng = np.random.default_rng(seed)
  gallery, queries = rng.integers(0, 3, (7, 1)).astype(np.float32), np.ones((5, 1), np.float32)
  queries[-1] = 0  # all images tie
  labels = rng.choice(list("abcd"), 7).tolist()
  wanted = [rng.choice(list("abcde"), rng.integers(1, 4), replace=False).tolist() for _ in queries]
  ranking = scored(queries, gallery, Answers.of((labels, [own[:1] for own in wanted]), (labels, wanted)), k)
  at = [number for number in AT if number <= k]
  found, precision, relevant = (
    recalls(ranking, at),
    average_precisions(ranking, at, sense=1),
    relevant_recalls(ranking, at),
  )
  for query, own in enumerate(wanted):
    every = [order[None] for order in orders(gallery @ queries[query])]
    expected = [list(recall_of_one_order(order, labels, own[:1], at).values()) for order in every]
    np.testing.assert_allclose(found[query], np.mean(expected, axis=0), atol=1e-14)
    expected = [list(average_precision_of_one_order(order, labels, [own], at).values()) for order in every]
    np.testing.assert_allclose(precision[query], np.mean(expected, axis=0), atol=1e-14)
    is_right = np.array(labels) == own[0]
    expected = [[is_right[order[0, :number]].sum() / (is_right.sum() + SMOOTHING) for number in at] for order in every]
    np.testing.assert_allclose(relevant[query], np.mean(expected, axis=0), atol=1e-14)


def test_an_excluded_reference_and_other_groups_are_no_part_of_a_tie():
  """Nine equal images: of the five of the query's group one is its reference, so one of four is right."""
  labels, gallery = list("abcdabcda"), np.ones((9, 2), np.float32)
  options = {"exclude": np.array([8]), "query_groups": np.array([1]), "gallery_groups": np.array([0] * 4 + [1] * 5)}
  ranking = scored(gallery[:1], gallery, Answers.of((labels, [["a"]])), 2, **options)
  assert ranking.tied_after.tolist() == [[2, 0]]  # rows 4 and 5 are listed, 6 and 7 are not
  np.testing.assert_allclose(recalls(ranking, (1, 2)), [[1 / 4, 1 / 2]], atol=1e-15)


@pytest.mark.parametrize("blocks", [(3, 4), (16, 64), (2, 5)])
def test_images_after_the_list_are_counted_whatever_the_blocks(blocks):
  rng = np.random.default_rng(0)
  queries, gallery = rng.integers(-1, 2, (10, 3)), rng.integers(-1, 2, (50, 3))
  labels, targets = rng.choice(list("abc"), 50), rng.choice(list("abc"), 10)
  exclude = rng.integers(0, 50, 10)
  answers = Answers.of((labels.tolist(), [[target] for target in targets]))
  sizes = dict(zip(("query_block", "gallery_block"), blocks, strict=True))
  arrays = queries.astype(np.float32), gallery.astype(np.float32)
  ranking = rank_gallery(*arrays, k=6, exclude=exclude, answers=answers, **sizes)
  for query, rows in enumerate(ranking.rows):
    scores = gallery @ queries[query]
    after = np.setdiff1d(np.flatnonzero(scores == scores[rows[-1]]), [*rows, exclude[query]])
    assert ranking.tied_after[query].tolist() == [len(after), (labels[after] == targets[query]).sum()]


def test_without_ties_every_number_is_that_of_the_one_order_to_the_bit():
  rng = np.random.default_rng(0)
  rows, labels = np.argsort(rng.random((200, 60)), axis=1)[:, :50], rng.choice(list("abcdefghij"), 60).tolist()
  targets = rng.choice(list("abcdefghij"), 200).tolist()
  right = [list(dict.fromkeys([target, *rng.choice(list("abcdefghij"), 3)])) for target in targets]
  protocol, scores = PROTOCOLS["circo"], np.zeros((200, 60), np.float32)
  np.put_along_axis(scores, rows, np.arange(60, 10, -1, dtype=np.float32)[None], axis=1)
  ranking = rank_gallery(
    np.eye(200, dtype=np.float32), scores.T.copy(), k=50, answers=answers_of(protocol, labels, targets, right)
  )
  assert count(protocol, ranking, [""] * 200) == {
    **recall_of_one_order(rows, labels, targets, protocol.recall_at),
    **average_precision_of_one_order(rows, labels, right, protocol.average_precision_at),
    TIED_SHARE: 0.0,
  }


# Of a gallery of NUM images the first ones are right: gallery order would find them all.
NUM, NUM_QUERIES = 305, 3
LABELS = ["new cat"] * 4 + ["old cat"] + ["new dog"] * 100 + [f"wet pet{row}" for row in range(196)] + ["new cat"] * 4
GROUPS = ["dress"] * 205 + ["shirt"] * 100
# 8 images are new cats, 4 in each group; 9 are cats, 108 are new; with the two pets 11 have one of the 4 labels.
RIGHT = ["new cat", "old cat", "wet pet0", "wet pet1"]
NUM_RIGHT = {"": 8, "adjective": 108, "noun": 9}


def chance(num, num_right, k):
  """The probability that one of `num_right` images is among k of `num`."""
  return 1 - comb(num - num_right, min(k, num)) / comb(num, min(k, num))


def chance_of_precision(num, num_right, num_labels, k):
  """The expected AP@K of a random order."""
  earlier = [(j - 1) * (num_right - 1) / (num - 1) for j in range(1, k + 1)]
  return sum(num_right / num * (1 + e) / j for j, e in enumerate(earlier, start=1)) / min(k, num_labels)


def chance_of(name, metric):
  """What a metric is worth where nothing is known: LABELS by hand, the references being wrong ones."""
  part, _, measure = metric.rpartition("/")
  k = int(measure.partition("@")[2])
  if part == "subset":
    return chance(5, 1, k)
  if name == "fashion_iq":
    return np.mean(
      [chance({"dress": 205, "shirt": 100}[own], 4, k) for own in ("dress", "shirt") if part in (own, "mean")]
    )
  if name == "fashion_iq_compose_ae":
    return chance(199, 1, k)  # distinct names: new cat, old cat, new dog and 196 pets
  num = NUM - PROTOCOLS[name].excludes_reference
  if measure.startswith("mAP"):
    return chance_of_precision(num, 11, 4, k)
  if part.endswith("relevant"):
    return 8 * k / NUM / (8 + SMOOTHING)
  return chance(num, NUM_RIGHT[part if part in NUM_RIGHT else ""], k)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_constant_model_gets_chance(name):
  protocol, query_groups = PROTOCOLS[name], ["dress", "shirt", "shirt"]
  vector = np.random.default_rng(0).normal(size=96).astype(np.float32)
  gallery, queries = np.tile(vector, (NUM, 1)), np.tile(vector[::-1], (NUM_QUERIES, 1))
  answers = answers_of(protocol, LABELS, ["new cat"] * NUM_QUERIES, [RIGHT] * NUM_QUERIES)
  numbers = protocol.groups(LABELS, GROUPS, query_groups)
  options = {"exclude": np.full(NUM_QUERIES, 150)} if protocol.excludes_reference else {}
  options |= {"query_groups": numbers[0], "gallery_groups": numbers[1], "gallery_block": 64, "answers": answers}
  ranking = rank_gallery(queries, gallery, k=protocol.num_ranked, **options)
  subsets = rank_subsets(queries, gallery, np.tile([0, 4, 200, 201, 202], (NUM_QUERIES, 1)), answers)
  first = np.ones((NUM_QUERIES, 20), np.float32)
  reranked = rerank(ranking, first, first, weight=0.5)
  metrics = count(protocol, ranking, query_groups, subsets)
  assert count(protocol, reranked, query_groups, subsets) == metrics
  assert metrics.pop(TIED_SHARE) == 1
  headline = metrics.pop("headline", None)
  for metric, value in metrics.items():
    assert value == pytest.approx(chance_of(name, metric), abs=1e-12), metric
  if headline is not None:
    assert headline == pytest.approx(np.mean([chance_of(name, metric) for metric in protocol.headline]), abs=1e-12)


def test_the_tied_share_is_of_queries_whose_recall_depends_on_the_order():
  """The first query's two best tie, right and wrong; the second's are both right, and the third's both wrong."""
  scores = np.array([[2, 2, 1], [2, 2, 1], [1, 2, 2]], np.float32)
  answers = Answers.of((list("abc"), [["a"], ["a", "b"], ["a"]]))
  ranking = rank_gallery(np.eye(3, dtype=np.float32), scores.T.copy(), k=3, answers=answers)
  assert recalls(ranking, (1, 2, 3)).tolist() == [[0.5, 1, 1], [1, 1, 1], [0, 0, 1]]
  assert tied_at(ranking, (1, 2, 3)).tolist() == [True, False, False]
  assert tied_at(ranking, (2, 3)).tolist() == [False, False, False]
  assert count(PROTOCOLS["same_label"], ranking, [""] * 3)[TIED_SHARE] == 1 / 3


def test_reranking_leaves_alone_what_only_the_gallery_order_puts_among_the_first():
  """Of four images rows 1 and 2 tie around the cut after two: row 1 keeps its place."""
  scores = np.array([[3, 2, 2, 1]], np.float32)
  answers = Answers.of((list("abcd"), [["c"]]))
  ranking = rank_gallery(np.eye(1, dtype=np.float32), scores.T.copy(), k=4, answers=answers)
  reranked = rerank(ranking, scores[:, :2], np.array([[0, 9]], np.float32), weight=1.0)
  assert reranked.rows.tolist() == [[0, 1, 2, 3]]
  assert recalls(reranked, (1, 2, 3)).tolist() == [[0, 0.5, 1]]
  reranked = rerank(ranking, scores[:, :3], np.array([[0, 9, 9]], np.float32), weight=1.0)
  assert reranked.rows.tolist() == [[1, 2, 0, 3]]  # the tie is whole among the first three
  assert recalls(reranked, (1, 2, 3)).tolist() == [[0.5, 1, 1]]


def test_reranking_heeds_the_images_after_the_list():
  answers = Answers.of((list("abcd"), [["d"]]))
  ranking = rank_gallery(np.ones((1, 1), np.float32), np.array([[3], [2], [2], [2]], np.float32), k=2, answers=answers)
  reranked = rerank(ranking, np.array([[3, 2]], np.float32), np.array([[0, 9]], np.float32), weight=1.0)
  assert reranked.rows.tolist() == [[0, 1]]
  np.testing.assert_allclose(recalls(reranked, (1, 2)), [[0, 1 / 3]], atol=1e-15)
