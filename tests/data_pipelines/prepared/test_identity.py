"""Prepared data is known again by its content, wherever its files are; what changed is named."""

import concurrent.futures
import json
import shutil

import numpy as np
import pytest

from configs import catalogue, circo, cirr, css3d, fashion200k, fashion_iq, mit_states
from data_pipelines.dataset import open_dataset, prepare
from data_pipelines.datasets.builder import EncodedImages
from data_pipelines.files import open_whole
from data_pipelines.input_error import InputError
from data_pipelines.locks import one_at_a_time
from data_pipelines.prepared import identity as module
from tests.data_pipelines.datasets.test_catalogue import write_csv
from tests.fakes import tiny, tiny_datasets

# The module of a data set's configuration, what makes its raw files, and one of its images.
DATASETS = {
  "cirr": (cirr, tiny_datasets.make_cirr, "img_raw/dev/dev-0-0-img0.png"),
  "circo": (circo, tiny_datasets.make_circo, "COCO2017_unlabeled/unlabeled2017/000000000007.jpg"),
  "css3d": (css3d, tiny_datasets.make_css3d, "images/css_test_000000.png"),
  "fashion200k": (fashion200k, tiny_datasets.make_fashion200k, tiny_datasets.fashion200k_name("test", 0)),
  "fashion_iq": (fashion_iq, tiny_datasets.make_fashion_iq, "images/dress0.png"),
  "mit_states": (mit_states, tiny.make_mit_states, "images/dark sky/0.jpg"),
  "catalogue": (catalogue, tiny_datasets.make_catalogue, tiny_datasets.catalogue_name(9)),
}


def opened(config_module, raw, prepared, **fields):
  config = config_module.get_config()
  config.data.update({"dir": str(raw), "prepared_dir": str(prepared)} | fields)
  return open_dataset(config.data, config.text_query)


def test_after_preparing_no_run_reads_all_images(tmp_path, monkeypatch):
  raw = tiny.make_mit_states(tmp_path / "raw")
  config = mit_states.get_config()
  config.data.update(dir=str(raw), prepared_dir=str(tmp_path / "prepared"), image_size=16, num_workers=0)
  prepare(config.data)
  dataset = open_dataset(config.data, config.text_query)
  monkeypatch.setattr(EncodedImages, "__getitem__", lambda *_: pytest.fail("an image was read"))
  assert dataset.identity["images of train"]["rows"] == len(dataset.train_images)


def triplets(folder, rows):
  folder.mkdir(exist_ok=True)
  return {"triplets": write_csv(folder / "rows.csv", rows)}


ROWS = tiny_datasets.catalogue_triplets()


@pytest.fixture
def catalogue_at(tmp_path):
  """Opens a catalogue of these rows; the first one's identity, as a checkpoint keeps it."""

  def at(name, rows=ROWS):
    raw = tmp_path / name / "images"
    if not raw.exists():
      tiny_datasets.make_catalogue(raw)
    return opened(catalogue, raw, tmp_path / "prepared", **triplets(tmp_path / name, rows))

  return at


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_is_known_at_another_path_and_told_from_other_images(name, tmp_path):
  config_module, make, image = DATASETS[name]
  raw, moved = tmp_path / "raw", tmp_path / "elsewhere" / "moved"
  make(raw)
  first = opened(config_module, raw, tmp_path / "prepared")
  saved = json.loads(json.dumps(first.identity))
  assert {part.split(" of ")[0] for part in saved} >= {"images"} | ({"queries"} if len(first.queries) else set())
  shutil.copytree(raw, moved)
  assert opened(config_module, moved, tmp_path / "prepared").differences(saved) == []
  with (moved / image).open("ab") as file:
    file.write(b"more")
  changed = opened(config_module, moved, tmp_path / "prepared").differences(saved)
  assert changed and all(line.startswith("images of ") and image.rpartition("/")[2] in line for line in changed)


def test_rows_that_are_gone_new_changed_or_elsewhere(catalogue_at):
  saved = catalogue_at("first").identity
  assert catalogue_at("second").differences(saved) == []  # other paths of rows and images
  gone = catalogue_at("gone", ROWS[:3]).differences(saved)
  assert gone == ["queries of test: 2 rows then, 1 now; the first 1 are the same"]
  (changed,) = catalogue_at("changed", [*ROWS[:3], {**ROWS[3], "text": "make it old"}]).differences(saved)
  assert changed.startswith("queries of test: 2 rows then, 2 now; the first that differs is row 1, now ")
  assert "make it old" in changed
  (turned,) = catalogue_at("turned", [ROWS[1], ROWS[0], *ROWS[2:]]).differences(saved)
  assert turned.startswith("queries of train: 2 rows then, 2 now; the first that differs is row 0")


def test_of_many_rows_a_range_is_named(catalogue_at, monkeypatch):
  monkeypatch.setattr(module, "MAX_DIGESTS", 2)
  saved = catalogue_at("first").identity
  assert (saved["images of test"]["rows"], saved["images of test"]["block"]) == (7, 4)
  monkeypatch.undo()  # a later version may keep more of them
  dataset = catalogue_at("second")
  assert dataset.differences(saved) == []
  file = tiny_datasets.catalogue_name(8)
  with (dataset.prepared.folder.parent.parent / "second" / "images" / file).open("ab") as stream:
    stream.write(b"more")
  (line,) = catalogue_at("second").differences(saved)
  assert line == "images of test: 7 rows then, 7 now; the first that differs is in rows 0 to 3"


def test_sizes_are_read_once_and_a_damaged_file_of_them_is_named(catalogue_at, monkeypatch, capsys):
  dataset = catalogue_at("first")
  saved = dataset.identity
  monkeypatch.setattr("data_pipelines.datasets.builder.EncodedImages.__getitem__", None)
  assert catalogue_at("first").identity == saved
  file = dataset.prepared.folder / "sizes-test-1.2.0.npy"
  file.write_bytes(file.read_bytes()[:-9])
  with pytest.raises(InputError, match=r"sizes-test-1\.2\.0\.npy is damaged .*delete it"):
    _ = catalogue_at("first").identity


def test_sizes_are_written_by_one_run_at_a_time(catalogue_at):
  dataset = catalogue_at("first")
  file = dataset.prepared.folder / "sizes-test-1.2.0.npy"
  with concurrent.futures.ThreadPoolExecutor(1) as thread:
    with one_at_a_time(file.with_suffix(".lock")), open_whole(file) as other:  # another run, which has begun
      found = thread.submit(lambda: dataset.identity)
      with pytest.raises(TimeoutError):
        found.result(timeout=1)
      np.save(other, np.zeros(len(dataset.gallery), np.int64))
    assert found.result(timeout=30)["images of test"]["rows"] == len(dataset.gallery)
  assert not np.load(file).any()


def test_what_is_for_a_test_server_may_come_later(tmp_path):
  raw = tiny_datasets.make_cirr(tmp_path / "raw", without=("test1-0-0-img0",))
  without = opened(cirr, raw, tmp_path / "prepared", allow_missing_images=True)
  tiny_datasets.write_image(raw / "img_raw" / "test1" / "test1-0-0-img0.png", 0)
  whole = opened(cirr, raw, tmp_path / "prepared", allow_missing_images=True)
  assert whole.differences(without.identity) == []
  assert whole.identity.keys() - without.identity.keys() == {"images of submission", "queries of submission"}
