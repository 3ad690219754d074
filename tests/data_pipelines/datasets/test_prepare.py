"""Preparing a data set: several runs that start at once do it once."""

from concurrent.futures import ThreadPoolExecutor
import tempfile
import time

import pytest

from data_pipelines.datasets import prepare
from data_pipelines.datasets.builder import EncodedImages, read_columns
from data_pipelines.input_error import InputError


def test_runs_that_start_at_once_prepare_once(tmp_path, raw_mit_states, monkeypatch):
  prepared = []

  def slowly(builder, *arguments, actual=prepare._prepare):
    time.sleep(0.1)  # so that the others come while this one is at it
    prepared.append(builder.builder_config.name)
    actual(builder, *arguments)

  monkeypatch.setattr(prepare, "_prepare", slowly)
  with ThreadPoolExecutor(3) as runs:
    opened = list(runs.map(lambda _: prepare.open_tables("mit_states", str(raw_mit_states), str(tmp_path)), range(3)))
  assert sorted(prepared) == ["images", "labels", "queries"]
  assert len({tables["images"].info.splits["train"].num_examples for tables in opened}) == 1


def test_nothing_stays_in_the_folder_of_temporary_files(tmp_path, raw_mit_states, monkeypatch):
  (tmp_path / "temporary").mkdir()
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
  for _ in range(2):  # the first prepares, the second reads
    prepare.open_tables("mit_states", str(raw_mit_states), str(tmp_path / "prepared"))
  assert not list((tmp_path / "temporary").iterdir())


def test_the_fingerprint_sees_linked_folders_and_no_litter(tmp_path):
  def fingerprint(folder):
    return prepare.fingerprint(folder, {})

  for name in "AB":
    (tmp_path / name).mkdir()
    (tmp_path / f"store{name}").mkdir()
    (tmp_path / f"store{name}" / f"{name}.jpg").write_text(name)
    (tmp_path / name / "images").symlink_to(tmp_path / f"store{name}")
  assert fingerprint(tmp_path / "A") != fingerprint(tmp_path / "B")
  before = fingerprint(tmp_path / "A")
  (tmp_path / "storeA" / ".DS_Store").touch()
  assert fingerprint(tmp_path / "A") == before


def test_the_fingerprint_of_a_plain_folder_stays(tmp_path):
  for name in ("images/dark cat/0.jpg", "images/b-a/0.jpg", "images/b/0.jpg", "rows.csv"):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(name)
  assert prepare.fingerprint(tmp_path, {}) == "d025cbab"  # as it was before links were followed
  assert prepare.fingerprint(None, {}) == "e3b0c442"


@pytest.mark.parametrize("inside", ["", "prepared"])
def test_data_is_not_prepared_among_the_data(raw_mit_states, inside):
  with pytest.raises(InputError, match="config.data.prepared_dir=.* is in config.data.dir=.*: what the program writes"):
    prepare.open_tables("mit_states", str(raw_mit_states), str(raw_mit_states / inside))


def read_all(raw, folder):
  tables = prepare.open_tables("mit_states", str(raw), str(folder))
  for split in ("train", "test"):
    read_columns(tables["labels"], split)
    images = EncodedImages(tables["images"], split)
    assert all(images[row] for row in range(len(images)))
  read_columns(tables["queries"], "test")


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[: len(content) // 2]])
def test_a_damaged_file_of_a_prepared_table_is_named(raw_mit_states, tmp_path, damage):
  read_all(raw_mit_states, tmp_path)
  files = [*tmp_path.rglob("*array_record*"), *tmp_path.rglob("dataset_info.json")]
  assert len(files) == 8
  for file in files:
    content = file.read_bytes()
    file.write_bytes(damage(content))
    table = file.parents[1] if file.suffix == ".json" else file.parent
    with pytest.raises(InputError, match=f"{table} is damaged .*: delete this folder, and it is prepared again"):
      read_all(raw_mit_states, tmp_path)
    file.write_bytes(content)
