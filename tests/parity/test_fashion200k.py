"""Fashion200k's protocol against the original evaluation, and its loader against the original's counts and queries."""

import hashlib
import json

import numpy as np
import pytest

from composeret_jax.evaluation.protocols import answers_of, count
from composeret_jax.evaluation.retrieval import rank_gallery
from configs import fashion200k
from data_pipelines.dataset import open_dataset
from data_pipelines.datasets.prepare import PROTOCOLS
from data_pipelines.texts.labels import families
from tests.parity import archives, golden


def test_recalls_equal_the_originals():
  numbers = golden.load("protocol_fashion200k")
  query, gallery = (on_unit_sphere(numbers[name]) for name in ("query", "gallery"))
  labels = numbers["gallery_caption"].tolist(), numbers["target_caption"].tolist()
  answers = answers_of(PROTOCOLS["fashion200k"], *labels)
  ranking = rank_gallery(query, gallery, k=100, exclude=numbers["source_index"], answers=answers)
  metrics = count(PROTOCOLS["same_label"], ranking, [""] * len(query))
  expected = dict(zip(numbers["metric_names"].tolist(), numbers["metric_values"].tolist(), strict=True))
  for name, value in expected.items():
    assert metrics[original_name(name)] == pytest.approx(value, abs=1e-12), name
  reported = count(PROTOCOLS["fashion200k"], ranking, [""] * len(query))
  assert reported == {key: metrics[key] for key in ("R@1", "R@10", "R@50", "tied_share")}


def original_name(name):
  return f"R@{name.removeprefix('recall_top').removesuffix('_correct_composition')}"


def on_unit_sphere(features):
  return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def icons(tmp_path_factory):
  """The icon corpus as Fashion200k, and what the original loader says of it."""
  expected = json.loads(archives.file("icons_200k.expected.json").read_text())
  config = fashion200k.get_config()
  config.data.dir = str(archives.unpack("icons_200k", tmp_path_factory.mktemp("icons")))
  config.data.prepared_dir = str(tmp_path_factory.mktemp("prepared"))
  return open_dataset(config.data, "modification"), expected


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "test"])
def test_counts(icons, split):
  dataset, expected = icons
  labels = (dataset.train_images if split == "train" else dataset.gallery).labels
  assert len(labels) == expected[split]["images"]
  assert len(set(labels)) == expected[split]["captions"]


@pytest.mark.slow
def test_modifiable_images_and_parents(icons):
  dataset, expected = icons
  assert dataset.train_triplets.num_items == expected["train"]["modifiable_images"]
  parents = families(dict.fromkeys(dataset.train_images.labels))
  assert len(parents) == expected["train"]["parents_with_two_or_more_children"]


@pytest.mark.slow
def test_queries(icons):
  dataset, expected = icons
  queries, gallery = dataset.queries, dataset.gallery
  references = [(gallery.names[row], gallery.labels[row]) for row in queries.references]
  rows = zip(references, queries.target_labels, queries.texts, strict=True)
  lines = sorted("\t".join((*reference, target, text)) for reference, target, text in rows)
  assert len(lines) == expected["test"]["queries"]
  assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == expected["test"]["queries_sha256"]
  assert {tuple(line.split("\t")) for line in lines} >= {tuple(row) for row in expected["test"]["query_sample"]}
