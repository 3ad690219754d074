"""FashionIQ's real annotations, with stand-ins for the images."""

from collections import Counter

import numpy as np
import pytest

from data_pipelines.datasets.fashion_iq import CATEGORIES, FashionIQ
from data_pipelines.protocol import gallery_of_own_group, one_gallery_of_distinct_labels
from tests.parity import archives

GALLERIES = {"dress": 3817, "shirt": 6346, "toptee": 5373}
QUERIES = {"dress": 2017, "shirt": 2038, "toptee": 1961}
NUM_ENTRIES, NUM_NAMES = 15536, 15415
OPTIONS = {"categories": CATEGORIES, "allow_missing_images": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """The annotations, and an empty file for each image: reading tables does not open images."""
  root = archives.unpack("fashion_iq_annotations", tmp_path_factory.mktemp("fashion_iq"))
  (root / "images").mkdir()
  for name in FashionIQ.missing_images(root, OPTIONS):
    (root / "images" / f"{name}.jpg").touch()
  return root


@pytest.fixture(scope="module")
def builder(folder, tmp_path_factory):
  FashionIQ.check_raw_files(folder, OPTIONS)
  data_dir = str(tmp_path_factory.mktemp("prepared"))
  return FashionIQ(config="queries", data_dir=data_dir, options=OPTIONS, raw_folder=folder)


@pytest.fixture(scope="module")
def gallery(builder):
  images = builder.read_images("test")
  return [image.label for image in images], [image.group for image in images]


def test_gallery(gallery):
  labels, groups = gallery
  assert len(labels) == NUM_ENTRIES
  assert len(set(labels)) == NUM_NAMES
  assert Counter(groups) == GALLERIES


def test_queries(builder, gallery):
  labels, groups = gallery
  queries = builder.read_queries("test")
  assert Counter(query.group for query in queries) == QUERIES
  assert all(groups[query.reference] == query.group for query in queries)
  assert queries[0].modification == "Is shiny and silver with shorter sleeves and fit and flare"
  assert queries[0].complete == "dress is shiny and silver with shorter sleeves and it fit and flare"
  assert (labels[queries[0].reference], queries[0].target_label) == ("B005X4PL1G", "B0084Y8XIU")


def test_what_the_protocols_rank(builder, gallery):
  labels, groups = gallery
  query_groups = [query.group for query in builder.read_queries("test")]
  own_queries, own_gallery = gallery_of_own_group(labels, groups, query_groups)
  for category, number in zip(CATEGORIES, np.unique(own_gallery), strict=True):
    assert np.sum(own_gallery == number) == GALLERIES[category]
    assert np.sum(own_queries == number) == QUERIES[category]
  queries, distinct = one_gallery_of_distinct_labels(labels, groups, query_groups)
  assert np.sum(distinct == queries[0]) == NUM_NAMES


@pytest.mark.slow
def test_training_images_are_those_of_the_triplets(builder):
  labels = [image.label for image in builder.read_images("train")]
  queries = builder.read_queries("train")
  named = {labels[query.reference] for query in queries} | {query.target_label for query in queries}
  assert set(labels) == named


@pytest.mark.slow
def test_nothing_is_left_out(builder):
  assert set(builder.num_left_out().values()) == {0}


@pytest.mark.slow
@pytest.mark.parametrize("category", CATEGORIES)
def test_a_category_alone(folder, tmp_path, category):
  options = {"categories": (category,)}
  builder = FashionIQ(config="queries", data_dir=str(tmp_path), options=options, raw_folder=folder)
  assert len(builder.read_images("test")) == GALLERIES[category]
  assert len(builder.read_queries("test")) == QUERIES[category]


def test_missing_images_are_found(folder, tmp_path):
  names = ["B0084Y8XIU", "B005X4PL1G"]
  for name in names:
    (folder / "images" / f"{name}.jpg").rename(tmp_path / f"{name}.jpg")
  try:
    assert FashionIQ.missing_images(folder, OPTIONS) == sorted(names)
  finally:
    for name in names:
      (tmp_path / f"{name}.jpg").rename(folder / "images" / f"{name}.jpg")
