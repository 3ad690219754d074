import dataclasses

import numpy as np
import pytest

from composeret_jax.evaluation.protocols import answers_of, count
from composeret_jax.evaluation.ranking import Answers, NO_ROW
from composeret_jax.evaluation.retrieval import rank_gallery, rank_subsets
from data_pipelines.datasets.prepare import PROTOCOLS
from tests.fakes.rankings import counted

GALLERY = ["old cat", "new cat", "old dog", "new dog", "wet cat"]


def test_same_label_counts_queries_with_a_hit_among_the_first_k():
  ranks = np.array([[1, 0, 2, 3], [3, 2, 1, 0]])
  metrics = counted(PROTOCOLS["same_label"], ranks, GALLERY, ["new cat", "old cat"], ["", ""])
  assert metrics == {"R@1": 0.5, "R@5": 1.0, "R@10": 1.0, "R@50": 1.0, "R@100": 1.0}


def test_a_target_that_is_not_found_is_not_counted():
  metrics = counted(PROTOCOLS["same_label"], np.array([[1, 2]]), GALLERY, ["old cat"], [""])
  assert set(metrics.values()) == {0.0}


def test_mit_states_counts_adjectives_and_nouns_too():
  ranks = np.array([[3, 0, 1], [4, 2, 0], [2, 3, 1]])
  metrics = counted(PROTOCOLS["mit_states"], ranks, GALLERY, ["new cat", "old cat", "wet cat"], [""] * 3)
  assert metrics["R@1"] == 0.0
  assert metrics["adjective/R@1"] == pytest.approx(1 / 3)  # "new dog" has the adjective of "new cat"
  assert metrics["noun/R@1"] == pytest.approx(1 / 3)  # "wet cat" has the noun of "old cat"
  assert metrics["R@5"] == pytest.approx(2 / 3)


def test_a_rank_without_an_image_is_no_hit():
  metrics = counted(
    PROTOCOLS["same_label"], np.array([[0, NO_ROW]]), GALLERY, ["wet cat"], [""]
  )  # row -1 would be "wet cat"
  assert set(metrics.values()) == {0.0}


def test_fashion200k_reports_its_own_ranks():
  ranks = np.array([[3, 2, 1, 0], [0, 1, 2, 3]])
  metrics = counted(PROTOCOLS["fashion200k"], ranks, GALLERY, ["old cat", "old cat"], ["", ""])
  assert metrics == {"R@1": 0.5, "R@10": 1.0, "R@50": 1.0}


def test_css3d_counts_images_with_the_targets_label():
  labels = ["7", "8", "8"]
  metrics = counted(PROTOCOLS["css3d"], np.array([[2, 1], [1, 2]]), labels, ["8", "7"], ["0", "0"])
  assert metrics == {"R@1": 0.5, "R@5": 0.5, "R@10": 0.5, "R@50": 0.5, "R@100": 0.5}


# Twelve dresses and two shirts on a line; the dress "both" is a shirt too.
NAMES = [f"dress{i}" for i in range(11)] + ["both", "both", "shirt0"]
CATEGORIES = ["dress"] * 12 + ["shirt"] * 2
# A larger number is nearer to every query.
FEATURES = np.array([*range(11, -1, -1), 0, -1], np.float32)[:, None]


def ranked(protocol, references, query_categories):
  """What queries that all want the largest feature find under a protocol."""
  query_groups, gallery_groups = protocol.groups(NAMES, CATEGORIES, query_categories)
  return rank_gallery(
    np.ones((len(references), 1), np.float32),
    FEATURES,
    k=protocol.num_ranked,
    exclude=np.array(references) if protocol.excludes_reference else None,
    query_groups=query_groups,
    gallery_groups=gallery_groups,
  ).rows


def test_fashion_iq_ranks_the_own_category_with_the_reference_in_it():
  protocol = PROTOCOLS["fashion_iq"]
  query_categories = ["dress", "dress", "shirt"]
  ranks = ranked(protocol, [0, 0, 13], query_categories)
  assert ranks[0, :12].tolist() == list(range(12))  # the reference, row 0, is first
  assert ranks[2, :3].tolist() == [12, 13, NO_ROW]
  metrics = counted(protocol, ranks, NAMES, ["dress9", "dress10", "shirt0"], query_categories)
  assert metrics == {
    "dress/R@10": 0.5,  # dress9 is tenth, dress10 eleventh
    "dress/R@50": 1.0,
    "shirt/R@10": 1.0,
    "shirt/R@50": 1.0,
    "mean/R@10": 0.75,  # over categories, not queries
    "mean/R@50": 1.0,
    "headline": 0.875,
  }


def test_compose_aes_fashion_iq_ranks_each_name_of_all_categories_once():
  protocol = PROTOCOLS["fashion_iq_compose_ae"]
  query_categories = ["dress", "shirt", "shirt"]
  ranks = ranked(protocol, [0, 13, 13], query_categories)
  assert ranks[1, :14].tolist() == [*range(12), 13, NO_ROW]  # "both" once, and every dress before the shirt
  metrics = counted(protocol, ranks, NAMES, ["dress0", "both", "dress4"], query_categories)
  assert metrics["dress/R@1"] == 1.0
  assert [metrics[f"shirt/R@{k}"] for k in (1, 5, 10, 50, 100)] == [0.0, 0.5, 0.5, 1.0, 1.0]
  assert metrics["mean/R@10"] == 0.75
  assert metrics["headline"] == pytest.approx((0.75 + 1.0) / 2)


# Eight images on a line and queries that want the largest number: gallery row i is the i-th best but the reference.
CIRR = [f"img{i}" for i in range(8)]


def test_cirr_ranks_all_but_the_reference_and_the_subset_apart():
  protocol = PROTOCOLS["cirr"]
  gallery, queries = np.arange(8, 0, -1, dtype=np.float32)[:, None], np.ones((3, 1), np.float32)
  references, targets = np.array([0, 0, 5]), ["img1", "img6", "img7"]
  subsets = np.array([[7, 6, 5, 1, 3], [6, 5, 4, 3, 7], [7, 0, 1, 2, 3]])
  answers = answers_of(protocol, CIRR, targets)
  ranking = rank_gallery(queries, gallery, k=protocol.num_ranked, exclude=references, answers=answers)
  assert ranking.rows[0].tolist() == [1, 2, 3, 4, 5, 6, 7]  # row 0, the best of all, is the reference
  in_subset = rank_subsets(queries, gallery, subsets, answers)
  assert in_subset.rows.tolist() == [[1, 3, 5, 6, 7], [3, 4, 5, 6, 7], [0, 1, 2, 3, 7]]
  # With the references in their galleries the targets would stand second, seventh and eighth: one R@1 hit less.
  assert count(protocol, ranking, [""] * 3, in_subset) == {
    "R@1": pytest.approx(1 / 3),
    "R@5": pytest.approx(1 / 3),
    "R@10": 1.0,
    "R@50": 1.0,
    "subset/R@1": pytest.approx(1 / 3),  # the others stand fourth and fifth
    "subset/R@2": pytest.approx(1 / 3),
    "subset/R@3": pytest.approx(1 / 3),
    "headline": pytest.approx(1 / 3),
    "tied_share": 0,
  }


def test_equal_scores_of_a_subset_keep_gallery_order():
  gallery = np.array([[1], [2], [1], [2]], np.float32)
  answers = Answers.of((list("abcd"), [["a"]]))
  ranking = rank_subsets(np.ones((1, 1), np.float32), gallery, np.array([[3, 2, 0, 1]]), answers)
  assert ranking.rows.tolist() == [[1, 3, 0, 2]]
  assert ranking.levels.tolist() == [[0, 0, 1, 1]]


def test_genecis_ranks_galleries_of_different_sizes_and_averages_over_tasks():
  """Queries want the largest number; row i is the i-th best. The reference, row 0, is in no gallery."""
  protocol = PROTOCOLS["genecis"]
  gallery, queries = np.arange(8, 0, -1, dtype=np.float32)[:, None], np.ones((3, 1), np.float32)
  subsets = np.array([[2, 1, 3], [5, 7, NO_ROW], [4, 2, 6]])
  answers = answers_of(protocol, CIRR, ["img2", "img5", "img6"])
  ranking = rank_subsets(queries, gallery, subsets, answers)
  assert ranking.rows.tolist() == [[1, 2, 3], [5, 7, NO_ROW], [2, 4, 6]]
  metrics = count(protocol, ranking, ["focus_object", "focus_object", "change_object"])
  assert [metrics[f"focus_object/R@{k}"] for k in (1, 2, 3)] == [0.5, 1.0, 1.0]
  assert [metrics[f"change_object/R@{k}"] for k in (1, 2, 3)] == [0.0, 0.0, 1.0]
  assert [metrics[f"mean/R@{k}"] for k in (1, 2, 3)] == [0.25, 0.5, 1.0]
  assert (metrics["headline"], metrics["tied_share"]) == (0.25, 0)


def test_domain_conversion_ranks_no_references_and_counts_the_share_of_relevant_images():
  protocol = PROTOCOLS["imagenet_domains"]
  labels = ["reference 1", "1", "2", "1", "1"]
  of_queries, of_gallery = protocol.groups(labels, ["reference", "toy", "toy", "toy", "toy"], ["toy", "toy"])
  answers = answers_of(protocol, labels, ["1", "3"])  # no image has the label 3
  gallery = np.arange(5, 0, -1, dtype=np.float32)[:, None]
  options = {"query_groups": of_queries, "gallery_groups": of_gallery}
  ranking = rank_gallery(np.ones((2, 1), np.float32), gallery, k=protocol.num_ranked, answers=answers, **options)
  assert ranking.rows[0, :4].tolist() == [1, 2, 3, 4]
  metrics = count(protocol, ranking, ["toy", "toy"])
  assert metrics["toy/R@1"] == metrics["toy/R@5"] == 0.5
  assert metrics["toy/relevant/R@1"] == pytest.approx(1 / 6, abs=1e-5)
  assert metrics["toy/relevant/R@5"] == pytest.approx(1 / 2, abs=1e-5)
  assert metrics["headline"] == metrics["mean/relevant/R@10"]


def test_average_precision_by_hand():
  """Three right labels of which two are found, first and fourth: (1/1 + 2/4) / min(K, 3)."""
  labels, protocol = list("abcdef"), dataclasses.replace(PROTOCOLS["circo"], average_precision_at=(1, 2, 5))
  ranks = np.array([[0, 1, 2, 3, NO_ROW], [1, 0, 2, 3, 4]])
  found = counted(protocol, ranks, labels, ["a", "b"], ["", ""], [("a", "d", "f"), ("b",)])
  assert {name: value for name, value in found.items() if name.startswith("mAP")} == {
    "mAP@1": pytest.approx((1 / 1 + 1) / 2),
    "mAP@2": pytest.approx((1 / 2 + 1) / 2),
    "mAP@5": pytest.approx((1.5 / 3 + 1) / 2),
  }  # no image at the last rank: row -1 would be "f"


def test_circo_ranks_the_reference_where_the_published_programs_do():
  gallery = np.arange(6, 0, -1, dtype=np.float32)[:, None]
  labels, right = list("abcdef"), [("b", "c")]
  found = {}
  for name in ("circo", "circo_with_reference"):
    protocol = PROTOCOLS[name]
    answers = answers_of(protocol, labels, ["b"], right)
    exclude = np.zeros(1, int) if protocol.excludes_reference else None
    ranking = rank_gallery(np.ones((1, 1), np.float32), gallery, k=5, exclude=exclude, answers=answers)
    found[name] = count(protocol, ranking, [""])["mAP@5"]
  assert found == {"circo": 1.0, "circo_with_reference": pytest.approx((1 / 2 + 2 / 3) / 2)}


def test_circo_counts_recall_on_the_target_alone():
  labels = [str(i) for i in range(60)]
  ranks = np.arange(50)[None]
  found = counted(PROTOCOLS["circo"], ranks, labels, ["9"], [""], right_labels=[("9", "0")])
  assert (found["R@5"], found["R@10"]) == (0.0, 1.0)
  assert found["mAP@5"] == pytest.approx(1 / 2)
  assert found["mAP@10"] == pytest.approx((1 + 2 / 10) / 2)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_metrics_are_those_that_the_protocol_declares(name):
  ranks, queries = np.array([[1, 0], [0, 1]]), ["new cat", "old cat"]
  found = counted(
    PROTOCOLS[name],
    ranks,
    GALLERY,
    queries,
    ["dress", "shirt"],
    right_labels=[(label,) for label in queries],
    subset_rows=ranks,
  )
  assert tuple(found) == PROTOCOLS[name].metric_names(("dress", "shirt"))
