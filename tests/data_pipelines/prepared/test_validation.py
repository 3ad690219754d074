"""What is held out for validation: by a hash, so that new rows move nothing, and never what training shows."""

import unittest.mock

import numpy as np
import pytest

from configs import catalogue, cirr, css3d, fashion200k, fashion_iq, mit_states, shapes
from data_pipelines.dataset import open_dataset
from data_pipelines.datasets.mit_states import MitStates
from data_pipelines.input_error import InputError
from data_pipelines.prepared.validation import split_off
from data_pipelines.samplers import ListedSampler
from data_pipelines.tables import ImageTable, QueryTable
from data_pipelines.texts.labels import split_label
from tests.data_pipelines.datasets.test_catalogue import write_csv
from tests.fakes import tiny, tiny_datasets


def make_fashion200k(folder):
  """With so many captions that some of those held out are siblings."""
  captions = [f"{colour} {kind} dress" for colour in ("red", "blue", "green") for kind in ("lace", "silk", "wool")]
  with unittest.mock.patch.dict(tiny_datasets.FASHION200K_CAPTIONS, {"train": captions}):
    tiny_datasets.make_fashion200k(folder)


# Which share holds something out of these few images, and what of a label stays together.
DATASETS = {
  "cirr": (cirr, tiny_datasets.make_cirr, 0.2, str),
  "css3d": (css3d, tiny_datasets.make_css3d, 0.4, str),
  "fashion200k": (fashion200k, make_fashion200k, 0.5, str),
  "fashion_iq": (fashion_iq, tiny_datasets.make_fashion_iq, 0.3, str),
  "mit_states": (mit_states, tiny.make_mit_states, 0.4, lambda label: split_label(label)[1]),
}


def opened(config_module, raw, prepared, **fields):
  config = config_module.get_config()
  config.data.update({"dir": str(raw), "prepared_dir": str(prepared), "image_size": 8, "num_workers": 0} | fields)
  return open_dataset(config.data, config.text_query)


def check_held_out(dataset, held_out_by):
  """No right answer of a validation query is trained on, as reference, target or negative."""
  validation = dataset.validation
  gallery, queries = validation.gallery, validation.queries
  held = {held_out_by(label) for label in queries.target_labels}
  assert queries.texts and set(queries.target_labels) <= set(gallery.labels)
  assert held.isdisjoint(map(held_out_by, dataset.train_images.labels))
  assert all(0 <= row < len(gallery) for row in queries.references)
  assert validation.gallery_pixels[np.zeros(1, int)].shape == (1, 8, 8, 3)
  assert len(dataset.train_pixels) == len(dataset.train_images)
  triplets = [
    dataset.train_triplets.sample(item, lambda: tiny_rng()) for item in range(dataset.train_triplets.num_items)
  ]
  assert triplets and all(max(t.reference, t.target) < len(dataset.train_images) for own in triplets for t in own)


def tiny_rng():
  import numpy as np

  return np.random.default_rng(0)


@pytest.mark.parametrize("name", DATASETS)
def test_what_validates_is_not_trained_on(name, tmp_path):
  config_module, make, share, held_out_by = DATASETS[name]
  make(tmp_path / "raw")
  whole = opened(config_module, tmp_path / "raw", tmp_path / "prepared")
  dataset = opened(config_module, tmp_path / "raw", tmp_path / "prepared", validation_share=share)
  check_held_out(dataset, held_out_by)
  assert whole.validation is None
  assert len(dataset.train_images) < len(whole.train_images)
  assert (dataset.gallery.names, dataset.queries.texts) == (
    whole.gallery.names,
    whole.queries.texts,
  )  # of the test split


@pytest.mark.slow  # draws all shapes
def test_the_shapes_of_the_quickstart_hold_out_a_tenth(tmp_path):
  dataset = opened(shapes, "", tmp_path, validation_share=0.1)
  check_held_out(dataset, str)
  whole = opened(shapes, "", tmp_path)
  share = len(dataset.validation.queries) / whole.train_triplets.num_items
  assert 0.07 < share < 0.13
  assert 0.75 < dataset.train_triplets.num_items / whole.train_triplets.num_items < 0.88


def test_a_catalogue_holds_out_what_its_test_split_has_not_drawn(tmp_path):
  raw = tiny_datasets.make_catalogue(tmp_path / "raw", num_images=60)
  rows = [
    {"reference": tiny_datasets.catalogue_name(i), "text": f"text {i}", "target": tiny_datasets.catalogue_name(i + 1)}
    for i in range(0, 60, 2)
  ]
  fields = {"triplets": write_csv(tmp_path / "rows.csv", rows), "test_share": 0.3, "validation_share": 0.3}
  dataset = opened(catalogue, raw, tmp_path / "prepared", **fields)
  check_held_out(dataset, str)  # by the same hash as the test split's, nothing were left to draw
  assert set(dataset.validation.queries.target_labels).isdisjoint(dataset.queries.target_labels)


def test_captions_validate_as_they_are_tested(tmp_path):
  raw = tiny_datasets.make_catalogue(tmp_path / "raw", num_images=40)
  words = ["red", "blue", "green", "old", "new"]
  rows = [
    {"image": tiny_datasets.catalogue_name(i), "caption": f"{words[i % 5]} {words[i // 8]} hat", "split": split}
    for i, split in enumerate(["test"] * 8 + ["train"] * 32)
  ]
  dataset = opened(
    catalogue, raw, tmp_path / "prepared", captions=write_csv(tmp_path / "rows.csv", rows), validation_share=0.5
  )
  check_held_out(dataset, str)
  assert all(text.startswith("replace ") for text in dataset.validation.queries.texts)


def table(labels):
  return ImageTable(list(labels), list(labels), [b""] * len(labels), [""] * len(labels))


def listed(labels):
  """From each image to the next."""
  pairs = list(zip(range(len(labels)), labels[1:], strict=False))
  texts = [f"to {target}" for _, target in pairs]
  return QueryTable(np.array([row for row, _ in pairs]), texts, [target for _, target in pairs], [""] * len(pairs))


def test_more_rows_move_none_to_the_other_side():
  few, many = [f"image {i}" for i in range(300)], [f"image {i}" for i in range(400)]
  before, after = (split_off(table(names), listed(names), 0.2, str) for names in (few, many))
  targets = set(before.queries.target_labels)
  assert 40 < len(targets) < 80
  assert targets <= set(after.queries.target_labels)
  assert set(before.train_images.labels) <= set(after.train_images.labels)
  assert set(before.train_queries.target_labels) - {few[-1]} <= set(after.train_queries.target_labels)


def test_the_rule_for_queries_and_their_images():
  names = [f"image {i}" for i in range(300)]
  parts = split_off(table(names), listed(names), 0.2, str)
  held = set(names) - set(parts.train_images.labels)
  number = {name: i for i, name in enumerate(names)}
  for name in names[1:]:
    reference = names[number[name] - 1]
    assert (name in parts.queries.target_labels) == (name in held)
    assert (name in parts.train_queries.target_labels) == (name not in held and reference not in held)
  references = [parts.images.labels[row] for row in parts.queries.references]
  assert references == [names[number[target] - 1] for target in parts.queries.target_labels]
  assert set(parts.images.labels) == held | set(references)
  assert ListedSampler(parts.train_queries, parts.train_images.labels).num_items == len(parts.train_queries)


def test_a_noun_is_held_out_whole():
  assert MitStates.held_out_by("old cat") == MitStates.held_out_by("new cat") == "cat"


def test_too_small_a_share_is_refused(tmp_path):
  raw = tiny_datasets.make_css3d(tmp_path / "raw")
  with pytest.raises(InputError, match=r"validation_share is 0\.001: .* gives 0 queries to validate"):
    opened(css3d, raw, tmp_path / "prepared", validation_share=0.001)
