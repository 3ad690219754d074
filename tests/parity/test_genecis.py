"""GeneCIS as the original evaluates it: its crops, what each query ranks, and the recalls, from stand-in encoders."""

import io
import json
import os
import pathlib

import numpy as np
from PIL import Image
import pytest

from composeret_jax.evaluation.evaluator import subset_rows
from composeret_jax.evaluation.protocols import answers_of, count
from composeret_jax.evaluation.retrieval import rank_subsets
from configs import genecis
from data_pipelines.dataset import open_dataset
from data_pipelines.datasets.prepare import PROTOCOLS
from data_pipelines.datasets.zero_shot.crops import instance_crop
from data_pipelines.datasets.zero_shot.genecis import TASKS
from tests.parity import golden

WEIGHTS = {"image_plus_text": (0.5, 0.5), "image_only": (1.0, 0.0), "text_only": (0.0, 1.0)}


@pytest.fixture(scope="module")
def numbers():
  return golden.load("zero_shot/genecis")


@pytest.fixture(scope="module")
def dataset(numbers, tmp_path_factory):
  """The made-up templates and their pictures, prepared from the published layout."""
  root = tmp_path_factory.mktemp("genecis")
  for prefix, name in (("visual_genome_image/", "VG_All/{}.jpg"), ("coco_image/", "val2017/{:012d}.jpg")):
    for image, pixels in golden.under(numbers, prefix).items():
      path = root / name.format(int(image))
      path.parent.mkdir(exist_ok=True)
      Image.fromarray(pixels).save(path, "PNG")
  published = pathlib.Path(os.environ["COMPOSERET_GOLDEN"]) / "zero_shot" / "genecis"
  for task in TASKS:
    (root / f"{task}.json").write_text((published / f"{task}.json").read_text())
  config = genecis.get_config().data
  config.update(dir=str(root), prepared_dir=str(tmp_path_factory.mktemp("prepared")))
  return open_dataset(config, "modification")


@pytest.fixture(scope="module")
def own_features(numbers, dataset):
  """Of a stand-in as the original's: a thumbnail of 8 x 8 pixels, projected."""
  thumbnails = [
    np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB").resize((8, 8), Image.Resampling.BICUBIC), np.float32)
    for encoded in (dataset.gallery.encoded[row] for row in range(len(dataset.gallery)))
  ]
  return (np.stack(thumbnails).reshape(len(thumbnails), -1) / 255 - 0.5) @ numbers["stand_in/image_projection"]


@pytest.fixture(scope="module")
def image_features(numbers, dataset):
  """The original's features of the gallery's rows."""
  queries = dataset.queries
  features = np.full((len(dataset.gallery), numbers["stand_in/image_projection"].shape[1]), np.nan, np.float32)
  members = subset_rows(dataset.gallery, queries)
  for task in TASKS:
    own = [row for row, group in enumerate(queries.groups) if group == task]
    expected = golden.under(numbers, f"{task}/")
    features[queries.references[own]] = expected["reference_features"]
    for row, gallery in zip(own, expected["gallery_features_target_first"], strict=True):
      features[members[row][members[row] >= 0]] = gallery
  return features


@pytest.fixture(scope="module")
def text_features(numbers, dataset):
  conditions = json.loads(str(numbers["stand_in/conditions"]))
  return numbers["stand_in/text_features"][[conditions.index(text) for text in dataset.queries.texts]]


def test_crops_are_the_originals_to_the_pixel(numbers):
  for number, instance in enumerate(json.loads(str(numbers["crop/instances"]))):
    image = Image.fromarray(numbers[f"visual_genome_image/{instance['image_id']}"])
    crop = np.asarray(instance_crop(image, tuple(instance["instance_bbox"])))
    np.testing.assert_array_equal(crop, numbers[f"crop/{number}/pixels"])


@pytest.mark.parametrize("task", TASKS)
def test_queries_have_the_originals_references_galleries_and_texts(numbers, dataset, own_features, text_features, task):
  queries = dataset.queries
  own = [row for row, group in enumerate(queries.groups) if group == task]
  expected = golden.under(numbers, f"{task}/")
  members = np.stack([own_features[rows[rows >= 0]] for rows in subset_rows(dataset.gallery, queries)[own]])
  # Versions of Pillow round a few values of a thumbnail to neighbouring levels; other pictures differ by far more.
  level = {"rtol": 0, "atol": 8 / 255 * np.abs(numbers["stand_in/image_projection"]).max()}
  np.testing.assert_allclose(own_features[queries.references[own]], expected["reference_features"], **level)
  np.testing.assert_allclose(members, expected["gallery_features_target_first"], **level)
  np.testing.assert_array_equal(text_features[own], expected["text_features"])


@pytest.mark.parametrize("kind", WEIGHTS)
def test_similarities_and_recalls_are_the_originals(numbers, dataset, image_features, text_features, kind):
  queries, labels, protocol = dataset.queries, dataset.gallery.labels, PROTOCOLS["genecis"]
  gallery = image_features / np.linalg.norm(image_features, axis=1, keepdims=True)
  of_image, of_text = WEIGHTS[kind]
  vectors = of_image * image_features[queries.references] + of_text * text_features
  vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
  rows = subset_rows(dataset.gallery, queries)
  ranking = rank_subsets(vectors, gallery, rows, answers_of(protocol, labels, queries.target_labels))
  metrics = count(protocol, ranking, queries.groups)
  all_recalls = []
  for task in TASKS:
    expected = golden.under(numbers, f"{task}/{kind}/")
    own = [row for row, group in enumerate(queries.groups) if group == task]
    found = [vectors[row] @ gallery[rows[row][rows[row] >= 0]].T for row in own]
    np.testing.assert_allclose(found, expected["similarities"], atol=3e-6)
    recalls = [metrics[f"{task}/R@{k}"] for k in (1, 2, 3)]
    np.testing.assert_allclose(recalls, expected["recall_at_1_2_3"], atol=1e-6)
    all_recalls.append(recalls)
  means = [metrics[f"mean/R@{k}"] for k in (1, 2, 3)]
  np.testing.assert_allclose(means, np.mean(all_recalls, axis=0), atol=1e-12)
  assert metrics["headline"] == metrics["mean/R@1"]
