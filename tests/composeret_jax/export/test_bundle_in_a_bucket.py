import shutil

import numpy as np
import pytest

from composeret_jax.export.bundle_place import check_replaceable, placed
from composeret_jax.serving.bundle import layout, load
from data_pipelines.buckets.addresses import objects, write_object
from data_pipelines.input_error import InputError
from data_pipelines.paths import path_or_address


@pytest.fixture
def folder(bucket, tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  return path_or_address(f"{bucket}/bundle", "--bundle")


def put(bundle, folder):
  with placed(folder) as partial:
    shutil.copytree(bundle, partial, dirs_exist_ok=True)


def test_a_bundle_in_a_bucket_is_that_on_this_machine(original, folder):
  bundle = original[0]
  check_replaceable(folder)
  put(bundle, folder)
  assert set(objects(folder)) == {path.name for path in bundle.iterdir()}
  here, there = load(bundle), load(str(folder))
  assert there.fingerprint == here.fingerprint
  image = np.zeros((20, 20, 3), np.uint8)
  np.testing.assert_array_equal(there.compose([image], ["dark"]), here.compose([image], ["dark"]))
  with pytest.raises(InputError, match="a bucket cannot put one bundle into the place of another at once"):
    check_replaceable(folder)


def test_a_bundle_whose_export_was_killed_is_none_and_is_exported_again(original, folder):
  bundle = original[0]
  for name in (layout.WEIGHTS, layout.program_file(layout.COMPOSE_TEXTS)):
    write_object(folder / name, (bundle / name).read_bytes()[:100])
  with pytest.raises(InputError, match=f"is no whole bundle: it has no {layout.INFO}"):
    load(str(folder))
  check_replaceable(folder)
  put(bundle, folder)
  load(str(folder))


def test_what_is_no_bundle_is_not_written_into(folder):
  write_object(folder / "thesis.tex", b"\\documentclass{book}")
  with pytest.raises(InputError, match=r"holds what is of no bundle: thesis.tex\. Choose another folder"):
    check_replaceable(folder)


def test_an_export_that_fails_leaves_nothing(folder):
  with pytest.raises(ZeroDivisionError), placed(folder) as partial:
    (partial / layout.WEIGHTS).write_bytes(b"")
    raise ZeroDivisionError
  assert objects(folder) == {}
