import hashlib

import pytest

from configs import catalogue
from data_pipelines.dataset import open_dataset
from data_pipelines.datasets.catalogue.hub_rows import read_hub_rows
from data_pipelines.datasets.catalogue.row_files import Columns
from data_pipelines.input_error import InputError
from tests.fakes import tiny_datasets

datasets = pytest.importorskip("datasets", reason="the package datasets is not installed (the extra datasets)")

COLUMNS = Columns(("reference", "text", "target"), ("split", "category"))


def config(folder, **fields):
  config = catalogue.get_config().data
  config.update(prepared_dir=str(folder / "prepared"), **fields)
  return config


def with_images(raw, rows):
  """The rows as a data set that holds their images."""
  columns = {key: [row[key] for row in rows] for key in ("reference", "text", "target")}
  columns |= {key: [str(raw / image) for image in columns[key]] for key in ("reference", "target")}
  image = datasets.Image()
  features = datasets.Features({"reference": image, "text": datasets.Value("string"), "target": image})
  return datasets.Dataset.from_dict(columns, features=features)


def test_rows_name_files_of_the_folder(tmp_path):
  raw = tiny_datasets.make_catalogue(tmp_path / "images")
  datasets.Dataset.from_list(tiny_datasets.catalogue_triplets()).save_to_disk(str(tmp_path / "saved"))
  source = f"hf:{tmp_path / 'saved'}"
  dataset = open_dataset(config(tmp_path, dir=str(raw), triplets=source), "modification")
  assert dataset.queries.texts == ["make it blue", "make it new"]
  with pytest.raises(InputError, match="data.dir is not set: hf:.*saved names shelf0/0.png"):
    open_dataset(config(tmp_path, triplets=source), "modification")


def test_a_data_set_holds_its_images_and_its_splits(tmp_path):
  raw = tiny_datasets.make_catalogue(tmp_path / "images")
  rows = tiny_datasets.catalogue_triplets()
  parts = {"train": with_images(raw, rows[:2]), "validation": with_images(raw, rows[2:])}
  datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
  dataset = open_dataset(config(tmp_path, triplets=f"hf:{tmp_path / 'saved'}"), "modification")
  assert (len(dataset.train_images), len(dataset.gallery)) == (3, 4)  # an image in two rows is there once
  contents = {number: (raw / tiny_datasets.catalogue_name(number)).read_bytes() for number in range(10)}
  assert {dataset.gallery.encoded[row] for row in range(4)} == {contents[number] for number in (3, 4, 5, 6)}
  assert dataset.queries.target_labels == [hashlib.sha256(contents[number]).hexdigest() for number in (4, 6)]
  assert dataset.train_triplets.texts() == ["make it red", "make it long"]


def test_what_is_no_such_data_set_is_refused(tmp_path):
  datasets.Dataset.from_list([{"text": "red", "target": 7}]).save_to_disk(str(tmp_path / "saved"))
  with pytest.raises(InputError, match=r"no column reference \(found: text, target\)"):
    read_hub_rows(f"hf:{tmp_path / 'saved'}", COLUMNS)
  part = datasets.Dataset.from_list([{"reference": "a", "text": "red", "target": 7}])
  part.save_to_disk(str(tmp_path / "numbers"))
  with pytest.raises(InputError, match="row 1: target is 7, expected a text"):
    read_hub_rows(f"hf:{tmp_path / 'numbers'}", COLUMNS)
  datasets.DatasetDict({"train": part, "extra": part}).save_to_disk(str(tmp_path / "splits"))
  with pytest.raises(InputError, match="splits train, extra, expected train and one of test, validation, val"):
    read_hub_rows(f"hf:{tmp_path / 'splits'}", COLUMNS)


def test_a_data_set_that_cannot_be_loaded_is_named(monkeypatch):
  monkeypatch.setattr(datasets, "load_dataset", lambda *_: 1 / 0)
  with pytest.raises(InputError, match="hf:owner/name/en cannot be loaded: division by zero"):
    read_hub_rows("hf:owner/name/en", COLUMNS)
