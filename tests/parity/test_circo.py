"""CIRCO's real annotations, with stand-ins for the images, and its example submission for the validation split."""

import json

import numpy as np
import pytest

from composeret_jax.export.submission import problems, SUBMISSIONS
from data_pipelines.datasets.circo import Circo, IMAGE_INFO, IMAGES
from data_pipelines.datasets.prepare import PROTOCOLS
from data_pipelines.datasets.tables.rows import SUBMISSION
from data_pipelines.tables import QueryTable
from tests.fakes.rankings import counted
from tests.parity import archives

EXPECTED = {"mAP@5": 0.49, "mAP@10": 0.52, "mAP@25": 0.54, "mAP@50": 0.60}  # percent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """The annotations, and a list and an empty file of each image that they or the submission name."""
  root = archives.unpack("circo_annotations", tmp_path_factory.mktemp("circo"))
  ids = {image for ranked in json.loads((root / "submission_val.json").read_text()).values() for image in ranked}
  for split in ("val", "test"):
    for query in json.loads((root / "annotations" / f"{split}.json").read_text()):
      ids |= {query["reference_img_id"], *query.get("gt_img_ids", ())}
  (root / IMAGE_INFO).write_text(json.dumps({"images": [{"id": image} for image in sorted(ids)]}))
  (root / IMAGES).mkdir()
  for image in ids:
    (root / IMAGES / f"{image:012d}.jpg").touch()
  return root


@pytest.fixture(scope="module")
def builder(folder, tmp_path_factory):
  Circo.check_raw_files(folder, {})
  return Circo(config="queries", data_dir=str(tmp_path_factory.mktemp("prepared")), raw_folder=folder)


def test_queries(builder):
  assert len(builder.checked_rows("test")) == 220
  assert len(builder.checked_rows(SUBMISSION)) == 800
  assert builder.read_queries("test")[0].modification == "shows two people and has a more colorful background"


def test_the_example_submission_scores_as_published(folder, builder):
  labels = [image.label for image in builder.read_images("test")]
  rows = {label: row for row, label in enumerate(labels)}
  submission = json.loads((folder / "submission_val.json").read_text())
  queries = builder.read_queries("test")
  ranks = np.array([[rows[str(image)] for image in submission[query.id]] for query in queries])
  targets, right_labels = [query.target_label for query in queries], [query.right_labels for query in queries]
  found = counted(PROTOCOLS["circo"], ranks, labels, targets, [""] * len(queries), right_labels=right_labels)
  assert {name: round(100 * found[name], 2) for name in EXPECTED} == EXPECTED


def test_the_example_submission_passes_but_for_one_reference_that_it_did_not_drop(folder, builder):
  queries = builder.read_queries("test")
  texts, targets = zip(*((query.modification, query.target_label) for query in queries), strict=True)
  references = np.array([query.reference for query in queries])
  table = QueryTable(references, texts, targets, [""] * len(queries), [query.id for query in queries])
  labels = [image.label for image in builder.read_images("test")]
  (problem,) = problems((folder / "submission_val.json").read_bytes(), SUBMISSIONS["circo"][0], table, labels)
  assert problem == "189: the reference '550727' is among its own answers"
