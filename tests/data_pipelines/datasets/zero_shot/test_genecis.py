import io
import json

import numpy as np
from PIL import Image
import pytest

from configs import genecis
from data_pipelines.dataset import open_dataset
from data_pipelines.datasets.zero_shot.crops import instance_crop
from data_pipelines.input_error import InputError
from tests.fakes import tiny_zero_shot


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
  return tiny_zero_shot.make_genecis(tmp_path_factory.mktemp("genecis"))


def opened(folder, prepared, templates=(), **fields):
  config = genecis.get_config().data
  config.update(dir=str(folder), prepared_dir=str(prepared), **fields)
  return open_dataset(config, "modification", templates=templates)


def test_each_query_has_a_gallery_of_its_own_with_its_target(raw, tmp_path):
  dataset = opened(raw, tmp_path)
  queries, labels = dataset.queries, dataset.gallery.labels
  assert queries.groups == [task for task in genecis.get_config().data.categories for _ in range(3)]
  assert [len(subset) for subset in queries.subsets] == [4] * 6 + [3] * 6
  assert all(target in subset for target, subset in zip(queries.target_labels, queries.subsets, strict=True))
  assert labels[queries.references[6]] == "coco 101" and queries.target_labels[6] == "coco 102"
  assert queries.subsets[0][:2] == ("visual_genome 2300017 4,4,6,8", "visual_genome 2300034 4,4,6,8")
  assert len(set(labels)) == len(labels)
  assert not len(dataset.train_images)


def test_an_instance_is_cut_out_and_an_image_is_kept(raw, tmp_path):
  gallery = opened(raw, tmp_path).gallery
  row = gallery.labels.index("visual_genome 2300017 4,4,6,8")
  assert gallery.names[row] == "VG_100K_2/2300017.jpg 4,4,6,8"
  with Image.open(raw / "VG_100K_2" / "2300017.jpg") as image:
    expected = np.zeros((14, 14, 3), np.uint8)
    expected[:, 2:12] = np.asarray(image.convert("RGB"))[
      :14, :10
    ]  # left and top are cut at 0, 1.7 x 6 and 8 from there
  np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(gallery.encoded[row]))), expected)
  whole = gallery.labels.index("coco 101")
  assert gallery.encoded[whole] == (raw / "val2017" / "000000000101.jpg").read_bytes()


def test_a_crop_grows_to_the_left_and_upwards_alone():
  pixels = np.arange(400, dtype=np.uint16).reshape(20, 20).astype(np.uint8)
  crop = np.asarray(instance_crop(Image.fromarray(pixels), (10, 10, 5, 10)))
  assert crop.shape == (17, 17)  # 6.5 to 15 across, rounded half to even; 3 to 20 down
  np.testing.assert_array_equal(crop[:, 4:13], pixels[3:20, 6:15])
  assert not crop[:, :4].any() and not crop[:, 13:].any()


def test_an_instance_is_the_same_however_its_numbers_are_written(tmp_path):
  folder = tiny_zero_shot.make_genecis(tmp_path / "raw")
  file = folder / "genecis" / "focus_attribute.json"
  templates = json.loads(file.read_text())
  templates[1]["target"]["instance_bbox"] = [float(number) for number in templates[1]["target"]["instance_bbox"]]
  templates[2]["target"]["image_id"] = str(templates[2]["target"]["image_id"])
  file.write_text(json.dumps(templates))
  dataset = opened(folder, tmp_path, categories=("focus_attribute",))
  expected = opened(tiny_zero_shot.make_genecis(tmp_path / "as_before"), tmp_path, categories=("focus_attribute",))
  assert dataset.gallery.labels == expected.gallery.labels
  assert dataset.queries.subsets == expected.queries.subsets


def test_a_box_that_is_less_than_a_pixel_wide_is_a_black_square():
  crop = np.asarray(instance_crop(Image.new("RGB", (20, 20), "white"), (0, 3, 0.2, 5)))
  assert crop.shape == (8, 8, 3) and not crop.any()  # from 0 to 8.5 down, rounded half to even


def test_texts_are_conditions_in_a_template(raw, tmp_path):
  assert opened(raw, tmp_path).queries.texts[3] == "change_attribute 0"
  dataset = opened(raw, tmp_path, ["lincir"])
  assert dataset.queries.texts[3] == "a photo of $ that change_attribute 0"
  assert dataset.text_names == "a photo of $ that {condition}"


def test_only_the_images_of_the_chosen_tasks_are_expected(tmp_path):
  folder = tiny_zero_shot.make_genecis(tmp_path / "raw")
  for part in folder.glob("VG_*"):
    part.rename(tmp_path / part.name)
  assert len(opened(folder, tmp_path, categories=("focus_object",)).queries) == 3
  with pytest.raises(InputError, match=r"has no folder VG_100K/ \(found: genecis, val2017\)"):
    opened(folder, tmp_path, categories=("focus_object", "focus_attribute"))


def test_a_missing_image_is_named(tmp_path):
  folder = tiny_zero_shot.make_genecis(tmp_path / "raw")
  (folder / "VG_100K_2" / "2300034.jpg").unlink()
  with pytest.raises(InputError, match=r"1 images that the templates name are not in .*for example 2300034.jpg"):
    opened(folder, tmp_path)


BAD_BOX = {"image_id": 1, "instance_bbox": [0, 0, 0, 5]}
MISTAKES = {
  "no list": ({}, "a JSON dict, expected a list"),
  "no gallery": ([{"condition": "red"}], "query 0: expected reference, target, gallery and condition"),
  "an image of COCO": (
    [tiny_zero_shot.genecis_templates("focus_object")[0]],
    "query 0: expected image_id, found .*val_image_id",
  ),
  "an empty box": (
    [tiny_zero_shot.genecis_templates("focus_attribute")[0] | {"target": BAD_BOX}],
    r"expected instance_bbox as \[left, top, width, height\]",
  ),
  "a box elsewhere": (
    [
      tiny_zero_shot.genecis_templates("focus_attribute")[0]
      | {"target": tiny_zero_shot.instance(0) | {"instance_bbox": [90, 90, 5, 5]}}
    ],
    r"2300000.jpg: not a readable image \(the box \[90, 90, 5, 5\] has nothing of its 20 x 20 pixels\)",
  ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_broken_template_is_named(tmp_path, mistake):
  folder = tiny_zero_shot.make_genecis(tmp_path / "raw")
  content, message = MISTAKES[mistake]
  (folder / "genecis" / "focus_attribute.json").write_text(json.dumps(content))
  with pytest.raises(InputError, match=message):
    opened(folder, tmp_path, categories=("focus_attribute",))
