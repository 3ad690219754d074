import importlib.util

import pytest

from data_pipelines.buckets.addresses import bucket_path, is_address, move, objects
from data_pipelines.files import changed_files, CHECKSUMS, write_checksums, write_whole
from data_pipelines.input_error import InputError
from data_pipelines.paths import check_apart, path_or_address
from data_pipelines.untrusted_json import read_json_object


def test_addresses_are_told_from_paths():
  assert is_address("gs://b/run")
  assert is_address("s3://b")
  assert not any(is_address(path) for path in ("/gs/b", "gs", "http://b/run"))


@pytest.mark.parametrize("address", ["gs://", "gs://bucket", "gs://bucket/", "gs:///run", "gs://b/a//c", "s3://b/../c"])
def test_an_address_names_a_folder(address):
  with pytest.raises(InputError, match=f"--workdir={address} cannot be used: expected (gs|s3)://BUCKET/FOLDER"):
    path_or_address(address, "--workdir")


def test_a_missing_package_is_named(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(InputError, match="s3fs is not installed. Install the extra cloud"):
    bucket_path("s3://bucket/run", "--workdir")


def test_files_are_written_read_listed_and_moved(bucket):
  folder = path_or_address(f"{bucket}/run/", "--workdir")
  assert str(folder) == f"{bucket}/run"
  assert objects(folder) == {}
  write_whole(folder / "a" / "b.json", '{"x": 1}')
  write_whole(folder.with_name("run2") / "c", "of another folder, whose name begins with this one's")
  assert list(objects(folder)) == ["a/b.json"]
  assert read_json_object(folder / "a" / "b.json") == {"x": 1}
  move(folder / "a", folder / "moved" / "a-1")
  assert list(objects(folder)) == ["moved/a-1/b.json"]


def test_checksums_hold_in_a_bucket(bucket):
  folder = path_or_address(f"{bucket}/step", "--workdir")
  assert changed_files(folder) == [CHECKSUMS]
  for name in ("state/a", "state/b", "metrics/c", "late"):
    write_whole(folder / name, name)
  write_checksums(folder, ("late",))
  assert changed_files(folder, ("late",)) == []
  write_whole(folder / "state" / "a", "state/A")
  (folder / "state" / "b").unlink()
  write_whole(folder / "state" / "new", "")
  assert changed_files(folder, ("late",)) == ["state/a", "state/b", "state/new"]
  assert changed_files(folder, ("late",), under="metrics/") == []


def test_output_among_the_data_of_a_bucket_is_refused(bucket, tmp_path):
  data = path_or_address(f"{bucket}/data", "config.data.dir")
  check_apart(path_or_address(f"{bucket}/run", "--workdir"), "--workdir", data, "config.data.dir")
  check_apart(tmp_path, "--workdir", data, "config.data.dir")
  with pytest.raises(InputError, match="what the program writes there would be read as data"):
    check_apart(data / "run", "--workdir", data, "config.data.dir")
