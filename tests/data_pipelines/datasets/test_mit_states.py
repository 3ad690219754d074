from collections import Counter
from functools import partial

import numpy as np
from PIL import Image
import pytest

from data_pipelines.datasets.builder import EncodedImages, read_columns
from data_pipelines.datasets.prepare import open_tables
from data_pipelines.input_error import InputError
from data_pipelines.samplers import AdjectiveSampler

LABELS = ["old cat", "old cat", "new cat", "wet cat", "old dog", "new dog", "old ant"]


def test_tables_keep_the_images_bytes_and_order(raw_mit_states, prepared):
  tables = open_tables("mit_states", str(raw_mit_states), str(prepared))
  names = read_columns(tables["labels"], "train")["name"]
  images = EncodedImages(tables["images"], "train")
  assert len(images) == len(names) == 3 * 3 * 2
  assert names == sorted(names)
  for row in (0, 7, 17):
    assert images[row] == (raw_mit_states / names[row]).read_bytes()


def test_test_queries_are_every_other_adjective_of_the_noun(raw_mit_states, prepared):
  tables = open_tables("mit_states", str(raw_mit_states), str(prepared))
  labels = read_columns(tables["labels"], "test")["label"]
  columns = read_columns(tables["queries"], "test")
  assert Counter(columns["reference"]) == dict.fromkeys(range(12), 2)
  for reference, adjective, complete, target in zip(
    columns["reference"], columns["modification"], columns["complete"], columns["target_label"], strict=True
  ):
    own, noun = labels[reference].split()
    assert adjective != own
    assert complete == target == f"{adjective} {noun}"


@pytest.mark.parametrize("name", ["single", "adj cat"])
def test_folders_without_an_adjective_are_left_out(tmp_path, prepared, name):
  for folder in ("old cat", "new cat", "old sky", "new sky", name):
    (tmp_path / "images" / folder).mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "images" / folder / "0.jpg")
  tables = open_tables("mit_states", str(tmp_path), str(prepared))
  assert read_columns(tables["labels"], "train")["label"] == ["new cat", "old cat"]


def test_a_folder_without_images_says_what_is_expected_and_found(tmp_path, prepared):
  (tmp_path / "pictures").mkdir()
  with pytest.raises(InputError, match=r"(?s)no folder images/ \(found: pictures\).*images/<adjective noun>/\*\.jpg"):
    open_tables("mit_states", str(tmp_path), str(prepared))


def test_a_split_without_images_is_named(tmp_path, prepared):
  (tmp_path / "images" / "old cat").mkdir(parents=True)
  Image.new("RGB", (4, 4)).save(tmp_path / "images" / "old cat" / "0.jpg")
  with pytest.raises(
    InputError, match="no test images .*1 images of other nouns, cat.* test nouns are armor, bracelet"
  ):
    open_tables("mit_states", str(tmp_path), str(prepared))


def test_changed_raw_files_are_prepared_again(tmp_path, prepared):
  for folder in ("old cat", "new cat", "old sky", "new sky"):
    (tmp_path / "images" / folder).mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "images" / folder / "0.jpg")
  before = open_tables("mit_states", str(tmp_path), str(prepared))
  Image.new("RGB", (4, 4)).save(tmp_path / "images" / "old cat" / "1.jpg")
  after = open_tables("mit_states", str(tmp_path), str(prepared))
  assert len(read_columns(before["labels"], "train")["name"]) == 2
  assert len(read_columns(after["labels"], "train")["name"]) == 3


def test_a_visit_gives_one_reference_and_two_adjectives_of_its_noun():
  sampler = AdjectiveSampler(LABELS, complete_text=False)
  for item in range(sampler.num_items):
    first, second = sampler.sample(item, partial(np.random.default_rng, item))
    assert first.reference == second.reference
    assert first.text != second.text
    noun = LABELS[first.reference].split()[1]
    for triplet in (first, second):
      assert LABELS[triplet.target] == f"{triplet.text} {noun}"


def test_nouns_with_one_adjective_are_never_references():
  sampler = AdjectiveSampler(LABELS, complete_text=False)
  assert sampler.num_items == 6
  references = {sampler.sample(item, lambda: np.random.default_rng(0))[0].reference for item in range(6)}
  assert references == {0, 1, 2, 3, 4, 5}


def test_target_adjectives_and_images_are_uniform():
  sampler = AdjectiveSampler(LABELS, complete_text=True)
  rng = np.random.default_rng(0)
  targets = [triplet for _ in range(3000) for triplet in sampler.sample(0, lambda: rng)]
  texts = Counter(triplet.text for triplet in targets)
  assert set(texts) == {"old cat", "new cat", "wet cat"}
  assert all(abs(count / 6000 - 1 / 3) < 0.03 for count in texts.values())
  rows = Counter(triplet.target for triplet in targets if triplet.text == "old cat")
  assert abs(rows[0] / texts["old cat"] - 0.5) < 0.05


def test_one_adjective_for_every_noun_cannot_be_learnt_from():
  with pytest.raises(InputError, match="two different adjectives"):
    AdjectiveSampler(["old cat", "new dog"], complete_text=False)
