import pytest

from configs import fashion_iq
from data_pipelines.dataset import open_dataset
from data_pipelines.datasets.fashion_iq import complete_text, modification_text
from data_pipelines.input_error import InputError
from tests.fakes import tiny_datasets

MISSING = ("dress1", "train_shirt0", "both")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
  return tiny_datasets.make_fashion_iq(tmp_path_factory.mktemp("fashion_iq"))


@pytest.fixture(scope="module")
def raw_with_gaps(tmp_path_factory):
  return tiny_datasets.make_fashion_iq(tmp_path_factory.mktemp("fashion_iq_with_gaps"), without=MISSING)


def data_config(folder, prepared, **fields):
  config = fashion_iq.get_config().data
  config.update(dir=str(folder), prepared_dir=str(prepared), **fields)
  return config


def test_tables(raw, tmp_path):
  dataset = open_dataset(data_config(raw, tmp_path), "modification")
  galleries = tiny_datasets.FASHION_IQ_GALLERIES
  assert dataset.gallery.labels == [name for names in galleries.values() for name in names]
  assert dataset.gallery.groups == [category for category, names in galleries.items() for _ in names]
  assert dataset.gallery.names[0] == "images/dress0.png"
  queries = dataset.queries
  references = [dataset.gallery.labels[row] for row in queries.references]
  assert references == ["dress0", "dress1", "dress2", "dress3", "shirt0", "shirt1", "top0"]
  assert queries.target_labels == ["dress1", "dress2", "dress3", "both", "shirt1", "both", "top1"]
  assert queries.groups == ["dress"] * 4 + ["shirt"] * 2 + ["toptee"]
  assert queries.texts[0] == "Is more dress1 and Has longer sleeves"
  assert dataset.train_triplets.num_items == 7
  assert set(dataset.num_left_out.values()) == {0}


def test_names_are_normal_however_annotations_write_them(tmp_path):
  raw = tiny_datasets.make_fashion_iq(tmp_path / "raw")
  (raw / "images" / "dress1.png").rename(raw / "images" / "dre\u0301ss.png")  # decomposed, as macOS writes it
  for file in [*raw.glob("captions/*"), *raw.glob("image_splits/*")]:
    file.write_text(file.read_text().replace('"dress1"', '"./dr\\u00e9ss"'))
  dataset = open_dataset(data_config(raw, tmp_path / "prepared"), "modification")
  assert dataset.gallery.labels[1] == dataset.queries.target_labels[0] == "dr\u00e9ss"
  assert set(dataset.num_left_out.values()) == {0}
  (raw / "image_splits" / "split.dress.val.json").write_text('["dr\\u00e9ss", "dre\\u0301ss"]')
  with pytest.raises(InputError, match="listed twice"):
    open_dataset(data_config(raw, tmp_path / "prepared"), "modification")


def test_entries_of_the_images_folder_that_are_none_are_counted(tmp_path, capfd):
  raw = tiny_datasets.make_fashion_iq(tmp_path / "raw")
  for name in ("readme.txt", "dress0.txt", ".hidden.png"):
    (raw / "images" / name).touch()
  open_dataset(data_config(raw, tmp_path / "prepared"), "modification")
  assert capfd.readouterr().err.count("2 entries are left out") == 1


def test_categories_are_prepared_apart(raw, tmp_path):
  everything = open_dataset(data_config(raw, tmp_path), "complete")
  shirts = open_dataset(data_config(raw, tmp_path, categories=("shirt",)), "complete")
  assert shirts.gallery.labels == ["shirt0", "shirt1", "both"]
  assert len(shirts.queries) == 2
  assert len(everything.queries) == len(open_dataset(data_config(raw, tmp_path), "complete").queries) == 7


def test_missing_images_are_refused_and_listed(raw_with_gaps, tmp_path):
  with pytest.raises(
    InputError, match="3 images that the annotations name .* for example 'both' in .*allow_missing_images"
  ):
    open_dataset(data_config(raw_with_gaps, tmp_path), "modification")
  (listed,) = tmp_path.glob("*/missing_images.txt")
  assert listed.read_text().split() == sorted(MISSING)


def test_missing_images_are_left_out_and_counted(raw_with_gaps, tmp_path):
  for _ in ("prepares", "opens what is prepared"):
    dataset = open_dataset(data_config(raw_with_gaps, tmp_path, allow_missing_images=True), "modification")
    assert dataset.gallery.labels == ["dress0", "dress2", "dress3", "shirt0", "shirt1", "top0", "top1"]
    assert dataset.queries.target_labels == ["dress3", "shirt1", "top1"]
    assert dataset.queries.references.tolist() == [1, 3, 5]
    assert dataset.num_left_out == {
      "num_missing_images": 3,  # dress1, and "both" in two categories
      "num_missing_queries": 4,
      "num_missing_train_images": 1,
      "num_missing_train_queries": 1,
    }


def test_a_category_without_a_whole_query_is_refused(tmp_path):
  raw = tiny_datasets.make_fashion_iq(tmp_path / "raw", without=("top1",))
  with pytest.raises(InputError, match="no test query of toptee has both its images"):
    open_dataset(data_config(raw, tmp_path / "prepared", allow_missing_images=True), "modification")


def test_a_query_of_an_image_that_the_split_does_not_list_is_refused(tmp_path):
  raw = tiny_datasets.make_fashion_iq(tmp_path / "raw")
  (raw / "image_splits" / "split.toptee.val.json").write_text('["top0"]')
  with pytest.raises(InputError, match="cap.toptee.val.json names top1, image_splits/split.toptee.val.json does not"):
    open_dataset(data_config(raw, tmp_path / "prepared"), "modification")


def test_says_what_is_expected_and_what_was_found(tmp_path):
  (tmp_path / "pictures").mkdir()
  with pytest.raises(InputError, match=r"has no captions/cap.dress.train.json, .*folder images/ \(found: pictures\)"):
    open_dataset(data_config(tmp_path, tmp_path / "prepared"), "modification")


def test_only_the_chosen_categories_are_expected(raw, tmp_path):
  folder = tmp_path / "raw"
  folder.mkdir()
  (folder / "images").symlink_to(raw / "images")
  for name in ("captions/cap.shirt.train.json", "captions/cap.shirt.val.json", "image_splits/split.shirt.val.json"):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text((raw / name).read_text())
  dataset = open_dataset(data_config(folder, tmp_path / "prepared", categories=("shirt",)), "modification")
  assert len(dataset.gallery) == 3


@pytest.mark.parametrize("categories", [("hat",), (), ("dress", "dress")])
def test_unknown_categories_are_refused(raw, tmp_path, categories):
  with pytest.raises(InputError, match="config.data.categories is .*expected (a tuple|of each|each value once)"):
    open_dataset(data_config(raw, tmp_path, categories=categories), "modification")


def test_a_broken_annotation_is_named(tmp_path):
  raw = tiny_datasets.make_fashion_iq(tmp_path / "raw")
  (raw / "captions" / "cap.shirt.val.json").write_text('[{"candidate": "shirt0"}]')
  with pytest.raises(InputError, match="cap.shirt.val.json: query 0: expected candidate, captions and target"):
    open_dataset(data_config(raw, tmp_path / "prepared"), "modification")


def test_texts():
  captions = (" is Solid black.", "Has no sleeves?")
  assert modification_text(captions) == "Is solid black and Has no sleeves"
  assert complete_text("dress", captions) == "dress  is solid black. and it has no sleeves?"
