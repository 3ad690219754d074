"""MIT-States' protocol against the original evaluation, and its loader against the original's counts and queries."""

import hashlib
import json
import os
import pathlib
import tarfile

import ml_collections
import numpy as np
import pytest

from composeret_jax.evaluation.protocols import answers_of, count
from composeret_jax.evaluation.retrieval import rank_gallery
from data_pipelines.dataset import open_dataset
from data_pipelines.datasets.prepare import PROTOCOLS
from data_pipelines.texts.labels import split_label
from tests.parity import golden


def test_recalls_equal_the_originals():
  numbers = golden.load("protocol_mitstates")
  query, gallery = (on_unit_sphere(numbers[name]) for name in ("query", "gallery"))
  labels = numbers["gallery_caption"].tolist(), numbers["target_caption"].tolist()
  answers = answers_of(PROTOCOLS["mit_states"], *labels)
  ranking = rank_gallery(query, gallery, k=100, exclude=numbers["source_index"], answers=answers)
  metrics = count(PROTOCOLS["mit_states"], ranking, [""] * len(query))
  kinds = {"composition": "", "adj": "adjective/", "noun": "noun/"}
  expected = dict(zip(numbers["metric_names"].tolist(), numbers["metric_values"].tolist(), strict=True))
  for name, value in expected.items():
    _, top, _, kind = name.split("_")  # for example recall_top5_correct_adj
    assert metrics[f"{kinds[kind]}R@{top.removeprefix('top')}"] == pytest.approx(value, abs=1e-12), name


def on_unit_sphere(features):
  return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def emoji(tmp_path_factory):
  """The emoji corpus as MIT-States, and what the original loader says of it."""
  folder = pathlib.Path(os.environ.get("COMPOSERET_DATA", "/nonexistent"))
  archive, expected = folder / "emoji_states.tar.gz", folder / "emoji_states.expected.json"
  if not archive.exists() or not expected.exists():
    pytest.skip("COMPOSERET_DATA has no emoji_states.tar.gz and emoji_states.expected.json")
  target = tmp_path_factory.mktemp("emoji")
  with tarfile.open(archive) as file:
    file.extractall(target, filter="data")
  (root,) = target.iterdir()
  config = ml_collections.ConfigDict(
    {
      "dataset": "mit_states",
      "dir": str(root),
      "prepared_dir": str(target / "prepared"),
      "on_bad_image": "fail",
      "validation_share": 0.0,
    }
  )
  return open_dataset(config, "modification"), json.loads(expected.read_text())


@pytest.mark.parametrize("split", ["train", "test"])
def test_counts(emoji, split):
  dataset, expected = emoji
  labels = (dataset.train_images if split == "train" else dataset.gallery).labels
  assert len(labels) == expected[split]["images"]
  assert len(set(labels)) == expected[split]["pairs"]
  assert len({split_label(label)[1] for label in labels}) == expected[split]["nouns"]


def test_queries(emoji):
  dataset, expected = emoji
  queries = dataset.queries
  names = [dataset.gallery.names[row] for row in queries.references]
  lines = sorted(map("\t".join, zip(names, queries.target_labels, queries.texts, strict=True)))
  assert len(lines) == expected["test"]["queries"]
  assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == expected["test"]["queries_sha256"]
