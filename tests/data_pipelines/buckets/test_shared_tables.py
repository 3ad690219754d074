"""Raw files and prepared tables in a bucket."""

import pytest

from configs import catalogue
from data_pipelines.buckets.addresses import objects, write_object
from data_pipelines.buckets.raw_files import fingerprint
from data_pipelines.datasets import prepare
from data_pipelines.datasets.prepare import open_tables
from data_pipelines.files import CHECKSUMS
from data_pipelines.input_error import InputError
from data_pipelines.paths import path_or_address
from data_pipelines.prepared.prepared_data import PreparedData

SPLIT = "train"


@pytest.fixture
def machine(tmp_path, monkeypatch):
  """Starts on a machine by its name: each has a cache of its own."""
  return lambda name: monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))


@pytest.fixture
def raw(bucket, raw_mit_states):
  folder = path_or_address(f"{bucket}/raw", "config.data.dir")
  for file in raw_mit_states.rglob("*.jpg"):
    write_object(folder / file.relative_to(raw_mit_states).as_posix(), file.read_bytes())
  write_object(folder / ".hidden", b"is no data")
  return folder


def rows(tables):
  data = PreparedData(tables)
  images = data.images(SPLIT)
  return images.names, images.labels, [images.encoded[row] for row in range(len(images))]


@pytest.mark.slow  # prepares in processes of their own
def test_tables_are_prepared_once_and_fetched_elsewhere(
  raw, bucket, raw_mit_states, machine, tmp_path, capsys, monkeypatch
):
  assert fingerprint(raw, {}) == fingerprint(raw_mit_states, {})
  shared = f"{bucket}/prepared"
  machine("first")
  first = rows(open_tables("mit_states", str(raw), shared))
  assert first == rows(open_tables("mit_states", str(raw_mit_states), str(tmp_path / "here")))
  assert f"of {raw} to " in capsys.readouterr().err
  assert any(
    name.endswith(f"mit_states/{CHECKSUMS}") for name in objects(path_or_address(shared, "config.data.prepared_dir"))
  )

  machine("second")
  monkeypatch.setattr(prepare, "_prepare", None)  # anything that is prepared now would raise
  assert rows(open_tables("mit_states", str(raw), shared)) == first
  assert "Fetching" not in capsys.readouterr().err  # of raw files nothing


@pytest.mark.slow  # prepares in processes of their own
def test_tables_that_were_not_put_there_whole_are_put_there_again(raw, bucket, machine):
  machine("first")
  shared = path_or_address(f"{bucket}/prepared", "config.data.prepared_dir")
  first = rows(open_tables("mit_states", str(raw), str(shared)))
  (checksums,) = [name for name in objects(shared) if name.endswith(CHECKSUMS)]
  (shared / checksums).unlink()
  assert rows(open_tables("mit_states", str(raw), str(shared))) == first
  assert checksums in objects(shared)


@pytest.mark.slow  # prepares in processes of their own
def test_damaged_tables_in_a_bucket_are_named(raw, bucket, machine):
  shared = path_or_address(f"{bucket}/prepared", "config.data.prepared_dir")
  machine("first")
  open_tables("mit_states", str(raw), str(shared))
  name = next(name for name in objects(shared) if "array_record" in name)
  write_object(shared / name, b"other")
  machine("second")
  with pytest.raises(InputError, match=f"{shared}/{name} is not the file that was put there. Delete this folder"):
    open_tables("mit_states", str(raw), str(shared))


def test_prepared_data_among_the_raw_files_of_a_bucket_are_refused(raw, machine):
  machine("first")
  with pytest.raises(InputError, match="config.data.prepared_dir=.* is in config.data.dir="):
    open_tables("mit_states", str(raw), f"{raw}/prepared")


def test_a_catalogues_rows_and_images_may_be_in_a_bucket(raw, bucket, machine):
  machine("first")
  names = [name.removeprefix("images/") for name in objects(raw) if name.startswith("images/")]
  lines = [f"{one},{other},darker" for one, other in zip(names, reversed(names), strict=True) if one != other]
  write_object(raw / "rows.csv", "\n".join(["reference,target,text", *lines]).encode())
  config = catalogue.get_config()
  options = {name: config.data[name] for name in prepare.BUILDERS["catalogue"].OPTIONS}
  tables = open_tables("catalogue", f"{raw}/images", "", options | {"triplets": f"{raw}/rows.csv"})
  found = PreparedData(tables)
  assert {name for split in found.image_splits for name in found.images(split).names} <= set(names)
  assert found.columns("queries", "test")["modification"]
