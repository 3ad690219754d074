"""The recalls of Pic2Word's program for its own protocols, on made-up vectors."""

import json

import numpy as np
import pytest

from composeret_jax.evaluation.protocols import answers_of, count
from composeret_jax.evaluation.retrieval import rank_gallery
from data_pipelines.datasets.prepare import PROTOCOLS
from data_pipelines.protocol import REFERENCE
from tests.parity import golden


@pytest.fixture(scope="module")
def numbers():
  return golden.under(golden.load("zero_shot/pic2word"), "metric/")


@pytest.fixture(scope="module")
def published(numbers):
  return json.loads(str(numbers["values"]))


def counted(name, queries, gallery, labels, targets, query_groups, gallery_groups, references=None):
  """What the protocol `name` counts of vectors."""
  protocol = PROTOCOLS[name]
  of_queries, of_gallery = protocol.groups(labels, gallery_groups, query_groups)
  ranking = rank_gallery(
    queries,
    gallery,
    k=protocol.num_ranked,
    exclude=references if protocol.excludes_reference else None,
    query_groups=of_queries,
    gallery_groups=of_gallery,
    answers=answers_of(protocol, labels, targets),
  )
  return count(protocol, ranking, query_groups)


def test_domain_conversion_counts_the_share_of_relevant_images(numbers, published):
  labels = [str(label) for label in numbers["imagenet_gallery_labels"]] + ["reference 0"]
  targets = [str(label) for label in numbers["imagenet_query_labels"]]
  # One more image, the best for every query, is a reference alone.
  gallery = np.concatenate([numbers["imagenet_gallery"], 100 * numbers["query"].sum(axis=0, keepdims=True)])
  groups = ["toy"] * (len(labels) - 1) + [REFERENCE]
  found = counted("imagenet_domains", numbers["query"], gallery, labels, targets, ["toy"] * len(targets), groups)
  expected = {name.removeprefix("Real2Sketch_"): value for name, value in published["imagenet"].items()}
  for k in (1, 5, 10, 50, 100, 200):
    assert found[f"toy/relevant/R@{k}"] == pytest.approx(expected[f"R@{k}"], abs=1e-6)
    assert found[f"mean/relevant/R@{k}"] == found[f"toy/relevant/R@{k}"]


def test_object_composition_counts_the_query_own_image(numbers, published):
  num = len(numbers["query"])
  labels = [f"{row}.jpg" for row in range(num)]
  found = counted("coco_objects", numbers["query"], numbers["gallery"][:num], labels, labels, [""] * num, [""] * num)
  for k in (1, 5, 10, 50, 100):
    assert found[f"R@{k}"] == pytest.approx(published["coco"][f"ref_to_image_R@{k}"], abs=1e-6)


def test_cirr_leaves_the_reference_out(numbers, published):
  labels = [f"img{row}" for row in range(len(numbers["gallery"]))]
  targets = [labels[row] for row in numbers["answer_index"]]
  none = [""] * len(targets)
  protocol = PROTOCOLS["cirr"].without_subsets()
  ranking = rank_gallery(
    numbers["query"],
    numbers["gallery"],
    k=protocol.num_ranked,
    exclude=numbers["reference_index"],
    answers=answers_of(protocol, labels, targets),
  )
  found = count(protocol, ranking, none)
  for k in protocol.recall_at:
    assert 100 * found[f"R@{k}"] == pytest.approx(published["cirr"][f"recall_R@{k}"], abs=1e-4)


def test_fashion_iq_keeps_the_reference(numbers, published):
  labels = [f"img{row}" for row in range(len(numbers["gallery"]))]
  targets = [labels[row] for row in numbers["answer_index"]]
  groups = ["dress"] * len(targets), ["dress"] * len(labels)
  found = counted("fashion_iq", numbers["query"], numbers["gallery"], labels, targets, *groups)
  for k in (10, 50):
    assert 100 * found[f"dress/R@{k}"] == pytest.approx(published["fashion"][f"R@{k}"], abs=1e-4)
