import io

import numpy as np
from PIL import Image
import pytest

from configs import coco_objects
from data_pipelines.dataset import open_dataset
from data_pipelines.input_error import InputError
from tests.fakes import tiny_zero_shot


def opened(folder, prepared, templates=()):
  config = coco_objects.get_config().data
  config.update(dir=str(folder), prepared_dir=str(prepared))
  return open_dataset(config, "modification", templates=templates)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
  return tiny_zero_shot.make_coco_objects(tmp_path_factory.mktemp("objects"))


def test_a_region_refers_to_the_image_that_it_is_of(raw, tmp_path):
  dataset = opened(raw, tmp_path)
  files = [file for file, *_ in tiny_zero_shot.COCO_ROWS]
  assert dataset.gallery.labels == files + [f"reference {file}" for file in files]
  assert dataset.gallery.groups == [""] * 3 + ["reference"] * 3
  assert dataset.queries.references.tolist() == [3, 4, 5] and dataset.queries.target_labels == files
  assert dataset.queries.texts == ["dog and cat and traffic light", "bear", "chair and bed"]


def test_a_region_is_cut_at_whole_pixels_and_made_square(raw, tmp_path):
  gallery = opened(raw, tmp_path).gallery
  with Image.open(raw / "coco" / "val2017_masked" / "000000000139.jpg") as image:
    expected = image.crop((2, 3, 14, 9)).resize((12, 12), Image.Resampling.BICUBIC)
  np.testing.assert_array_equal(Image.open(io.BytesIO(gallery.encoded[3])), expected)


def test_pic2words_texts_name_the_objects_class_first(raw, tmp_path):
  assert opened(raw, tmp_path, ["pic2word"]).queries.texts == [
    "a photo of * and dog and cat and traffic light",
    "a photo of * and bear and ",  # as the original's, where there is nothing else
    "a photo of * and chair and bed",
  ]


ROWS = {
  "no corners": ("000000000139.jpg,1;2;3,dog,", "expected a region as left;top;right;bottom, found '1;2;3'"),
  "no class": ("000000000139.jpg,1;2;3;4", "row 0: expected id, query_regions, query_class, classes"),
  "an empty region": ("000000000139.jpg,5;5;5;9,dog,", r"not a readable image \(the region \[5, 5, 5, 9\] is empty\)"),
  "a missing image": ("1.jpg,1;2;3;4,dog,", "2 images that .*coco_eval.csv names are missing"),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_broken_row_is_named(tmp_path, row):
  folder = tiny_zero_shot.make_coco_objects(tmp_path / "raw")
  content, message = ROWS[row]
  (folder / "coco" / "coco_eval.csv").write_text(f"id,query_regions,query_class,classes\n{content}\n")
  with pytest.raises(InputError, match=message):
    opened(folder, tmp_path)


def test_other_columns_are_named(tmp_path):
  folder = tiny_zero_shot.make_coco_objects(tmp_path / "raw")
  (folder / "coco" / "coco_eval.csv").write_text("id,classes\n")
  with pytest.raises(InputError, match="expected columns id, query_regions, query_class, classes, found"):
    opened(folder, tmp_path)
