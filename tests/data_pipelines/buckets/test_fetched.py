import pathlib

import pytest

from data_pipelines.buckets import fetched
from data_pipelines.buckets.addresses import objects
from data_pipelines.buckets.fetched import fetch, local_copy
from data_pipelines.files import write_whole
from data_pipelines.input_error import InputError
from data_pipelines.paths import bucket_cache, path_or_address


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(bucket):
  folder = path_or_address(f"{bucket}/data", "config.data.dir")
  for name in ("rows.csv", "images/a.jpg", "images/b/c.jpg", "empty"):
    write_whole(folder / name, "" if name == "empty" else name)
  return folder


def contents(copy):
  return {path.relative_to(copy).as_posix(): path.read_text() for path in copy.rglob("*") if path.is_file()}


def test_a_folder_is_fetched_once_by_its_content(folder, bucket, monkeypatch, capsys):
  copy = local_copy(str(folder), "config.data.dir")
  assert copy.is_relative_to(bucket_cache())
  assert contents(copy) == {name: "" if name == "empty" else name for name in objects(folder)}
  assert f"Fetching 4 files (0.0 MB) of {folder} to {copy}" in capsys.readouterr().err
  monkeypatch.setattr(fetched, "fetch", None)  # anything that is fetched now would raise
  assert local_copy(str(folder), "config.data.dir") == copy
  write_whole(folder / "rows.csv", "rows.csV")
  with pytest.raises(TypeError):
    local_copy(str(folder), "config.data.dir")


def test_a_file_is_fetched_alone(folder):
  copy = local_copy(f"{folder}/rows.csv", "config.data.triplets")
  assert copy.read_text() == "rows.csv"
  assert contents(copy.parent) == {"rows.csv": "rows.csv"}


def test_an_address_of_nothing_is_named(bucket):
  with pytest.raises(InputError, match=f"config.data.dir={bucket}/none: nothing is there"):
    local_copy(f"{bucket}/none", "config.data.dir")


def test_a_copy_that_is_not_what_the_bucket_says_is_refused(folder, tmp_path):
  found = objects(folder)
  found["rows.csv"] = found["rows.csv"] | {"md5Hash": found["images/a.jpg"]["md5Hash"]}
  with pytest.raises(InputError, match=f"{folder}/rows.csv: what was fetched is not what is there"):
    fetch(folder, found, tmp_path / "copy")


class HostileBucket:
  """Gives every object that it is asked for."""

  def get(self, sources, targets):
    for target in targets:
      pathlib.Path(target).write_bytes(b"planted")


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "{}/outside"])
def test_an_object_whose_name_leads_out_of_the_folder_is_refused(tmp_path, monkeypatch, name):
  monkeypatch.setattr(fetched, "filesystem", lambda folder: HostileBucket())
  folder = path_or_address("gs://hostile/data", "config.data.dir")
  with pytest.raises(InputError, match="gs://hostile/data: the name of an object: .*, expected a path below"):
    fetch(folder, {"a.jpg": {"size": 7}, name.format(tmp_path): {"size": 7}}, tmp_path / "cache" / "copy")
  assert not list(tmp_path.rglob("*"))
