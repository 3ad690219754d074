import os
import pickle

import numpy as np
import pytest

from configs import css3d
from data_pipelines.dataset import open_dataset
from data_pipelines.datasets.css3d import DESCRIPTION, read_description
from data_pipelines.input_error import InputError
from tests.fakes import tiny_datasets


@pytest.fixture
def raw(tmp_path):
  return tiny_datasets.make_css3d(tmp_path / "raw")


def data_config(folder, prepared):
  config = css3d.get_config().data
  config.dir, config.prepared_dir = str(folder), str(prepared)
  return config


def test_tables(raw, tmp_path):
  dataset = open_dataset(data_config(raw, tmp_path), "modification")
  assert dataset.gallery.labels == ["7", "8", "8"]
  assert dataset.gallery.names[2] == "images/css_test_000002.png"
  assert dataset.queries.references.tolist() == [0, 1]
  assert dataset.queries.target_labels == ["8", "7"]
  assert dataset.queries.texts == ["make the sphere large"] * 2
  assert dataset.train_triplets.num_items == 2  # modifications, of which the second has three pairs
  assert len(dataset.train_images) == 4


def test_labels_are_row_numbers_where_the_description_has_none(raw, tmp_path):
  description = {**tiny_datasets.CSS3D, "test": {**tiny_datasets.CSS3D["test"]}}
  del description["test"]["labels"]
  np.save(raw / DESCRIPTION, np.array(description, dtype=object), allow_pickle=True)
  assert open_dataset(data_config(raw, tmp_path), "modification").gallery.labels == ["0", "1", "2"]


def test_there_is_no_complete_text_query(raw, tmp_path):
  with pytest.raises(InputError, match="config.text_query is 'complete', css3d has only modification"):
    open_dataset(data_config(raw, tmp_path), "complete")


def test_a_file_of_python_2_is_read(tmp_path):
  """Text of Python 2 is pickled as bytes of an old opcode, and NumPy stands under its old name."""
  path = tmp_path / DESCRIPTION
  with path.open("wb") as file:
    np.lib.format.write_array_header_1_0(file, {"shape": (), "fortran_order": False, "descr": "|O"})
    file.write(
      b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
      b"(K\x01)cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89"
      b"]}U\x05trainU\x03r\xe9dsatb."
    )
  assert read_description(path) == {"train": "réd"}


class Malicious:
  def __init__(self, folder):
    self.folder = folder

  def __reduce__(self):
    return os.mkdir, (str(self.folder),)


def test_a_pickle_that_calls_a_function_is_refused(raw, tmp_path):
  np.save(raw / DESCRIPTION, np.array({"train": Malicious(tmp_path / "made")}, dtype=object), allow_pickle=True)
  with pytest.raises(InputError, match=f"it holds {os.mkdir.__module__}.mkdir, expected plain containers"):
    open_dataset(data_config(raw, tmp_path / "prepared"), "modification")
  assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("value", [np.float64, pickle.loads, object(), slice(1)])
def test_only_plain_values_are_admitted(tmp_path, value):
  np.save(tmp_path / DESCRIPTION, np.array({"train": value}, dtype=object), allow_pickle=True)
  with pytest.raises(pickle.UnpicklingError, match="expected plain containers"):
    read_description(tmp_path / DESCRIPTION)


def test_plain_values_are_read(tmp_path):
  values = {"numbers": (1, 2.5, None, True), "sets": {3}, "scalar": np.int64(7), "array": [np.arange(3)]}
  np.save(tmp_path / DESCRIPTION, np.array(values, dtype=object), allow_pickle=True)
  read = read_description(tmp_path / DESCRIPTION)
  assert read["array"][0].tolist() == [0, 1, 2]
  assert {name: read[name] for name in ("numbers", "sets", "scalar")} == {
    name: values[name] for name in ("numbers", "sets", "scalar")
  }


@pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x01\x00"])
def test_a_broken_file_is_named(raw, tmp_path, content):
  (raw / DESCRIPTION).write_bytes(content)
  with pytest.raises(InputError, match=f"{DESCRIPTION} cannot be read as CSS3D's description"):
    open_dataset(data_config(raw, tmp_path), "modification")


def test_an_array_of_numbers_is_refused(tmp_path):
  np.save(tmp_path / DESCRIPTION, np.arange(3))
  with pytest.raises(ValueError, match="expected one pickled dictionary"):
    read_description(tmp_path / DESCRIPTION)


def test_names_a_missing_image(raw, tmp_path):
  (raw / "images" / "css_test_000001.png").unlink()
  with pytest.raises(InputError, match="1 images .* are missing: .*css_test_000001.png"):
    open_dataset(data_config(raw, tmp_path), "modification")


def test_says_what_is_expected_and_what_was_found(tmp_path):
  with pytest.raises(InputError, match=r"has no css_toy_.*npy, folder images/ \(found: nothing\)"):
    open_dataset(data_config(tmp_path, tmp_path / "prepared"), "modification")
