"""What an index keeps and finds, whatever happens to its files."""

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from composeret_jax.serving.index import create_index, exact, open_index
from composeret_jax.serving.index import nearest as nearest_module
from data_pipelines.input_error import InputError
from tests.fakes.fake_bundle import DIM
from tests.fakes.tiny_index import content, needs_milvus, new_index, rows

ROOT = pathlib.Path(__file__).parents[4]


def test_what_is_put_comes_back_from_another_opening(location):
  index = new_index(location)
  put = rows(["b", "a/é'\"\\ ${x}", "c"])
  index.put(put)
  index.close()
  read = open_index(location)
  kept = read.get(["c", "b"])
  assert (len(read), "b" in read, "d" in read) == (3, True, False)
  assert list(kept.entries) == [put.entries[2], put.entries[0]]
  assert list(kept.thumbnails) == [b"jpeg 0 c", b"jpeg 0 b"]
  np.testing.assert_array_equal(kept.features, put.features[[2, 0]])
  np.testing.assert_array_equal(kept.norms, put.norms[[2, 0]])
  assert read.entries() == {entry.id: entry for entry in put.entries}
  assert (read.fingerprint, read.feature_dim) == ("a" * 64, DIM)


def test_put_replaces_and_delete_removes(location):
  index = new_index(location, 6)
  newer = rows(["003", "new"], seed=1)
  index.put(newer)
  index.delete(["001", "005"])
  assert sorted(index.entries()) == ["000", "002", "003", "004", "new"]
  assert len(index) == 5
  assert index.get(["003"]).thumbnails == [b"jpeg 1 003"]
  assert index.search(newer.features[:1], 1)[0][0][0] == "003"
  assert sorted(id for id, _ in index.search(newer.features[:1], 10)[0]) == ["000", "002", "003", "004", "new"]
  with pytest.raises(InputError, match="has no 001"):
    index.delete(["000", "001"])
  with pytest.raises(InputError, match="has no nobody"):
    index.get(["nobody"])
  assert "000" in index


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_search_is_numpys_argsort_with_ties_by_id(tmp_path, monkeypatch, platform):
  monkeypatch.setattr(jax, "default_backend", lambda: platform)
  monkeypatch.setattr(nearest_module, "BLOCK_ROWS", 16)
  monkeypatch.setattr(nearest_module, "SMALL_ROWS", 4)
  rng = np.random.default_rng(3)
  features = rng.integers(-2, 3, (100, DIM)).astype(np.float32)  # sums of integers are exact, and many are equal
  ids = [f"{i:03d}" for i in rng.permutation(100)]
  queries = rng.integers(-2, 3, (5, DIM)).astype(np.float32)
  by_id = np.argsort(ids)
  scores = queries @ features[by_id].T
  expected = np.argsort(-scores, axis=1, kind="stable")
  for resident_bytes in (0, 2**30):
    monkeypatch.setattr(nearest_module, "RESIDENT_BYTES", resident_bytes)
    index = new_index(tmp_path / str(resident_bytes))
    for part in (slice(30), slice(30, 60), slice(60, 61), slice(50, 100)):
      index.put(dataclasses.replace(rows(ids[part]), features=features[part]))
    for k in (1, 7, 100, 150):
      found = index.search(queries, k)
      assert [[int(id) for id, _ in hits] for hits in found] == expected[:, :k].tolist()
      best = np.take_along_axis(scores, expected[:, :k], axis=1)
      assert [[score for _, score in hits] for hits in found] == best.tolist()


def test_a_cpu_searches_features_where_they_are_mapped(tmp_path):
  index = new_index(tmp_path / "index")
  for part in range(3):
    index.put(rows([f"{part} {row:05d}" for row in range(5000)], seed=part))
  index.close()
  index = open_index(tmp_path / "index")
  query = rows(["a"], seed=5).features
  ids = sorted(index.entries())
  scores = index.get(ids).features @ query[0]
  assert [id for id, _ in index.search(query, 20)[0]] == [ids[row] for row in np.argsort(-scores, kind="stable")[:20]]
  files = [segment.mapped_features.ctypes.data for segment in index._segments.values()]
  searched = {block.unsafe_buffer_pointer(): len(block) for block in index._nearest._blocks}
  assert [searched.pop(file) for file in files] == [4096] * 3
  assert list(searched.values()) == [4096]  # a copy of the 904 rows that each has left


def test_an_empty_index_finds_nothing(tmp_path):
  index = new_index(tmp_path / "index")
  assert index.search(np.ones((2, DIM), np.float32), 3) == [[], []]
  index.put(rows(["a"]))
  index.delete(["a"])
  assert index.search(np.ones((1, DIM), np.float32), 3) == [[]]


@pytest.mark.parametrize("field", ["id", "caption", "path"])
def test_a_text_that_is_not_unicode_does_not_get_into_an_index(location, field):
  put = rows(["a", "b"])
  put.entries[1] = dataclasses.replace(put.entries[1], **{field: "caf\udce9"})
  with pytest.raises(InputError, match=rf"caf\\udce9: this {field} of an image is not UTF-8"):
    new_index(location).put(put)


class Killed(BaseException):
  """Stands for SIGKILL: nothing catches it."""


@contextlib.contextmanager
def killed_at(step, monkeypatch):
  """Before the file system's `step`-th change from here on, everything ends."""
  steps_left = [step]

  def counted(function):
    def call(*arguments, **options):
      steps_left[0] -= 1
      if steps_left[0] < 0:
        raise Killed
      return function(*arguments, **options)

    return call

  with monkeypatch.context() as patch:
    for name in ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir"):
      patch.setattr(os, name, counted(getattr(os, name)))
    with contextlib.suppress(Killed):
      yield


CHANGES = {
  "put": lambda index: index.put(rows(["003", "new"], seed=1)),
  "delete a whole segment": lambda index: index.delete([f"{i:03d}" for i in range(5)]),
  "merge": lambda index: index.close(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_killed_at_any_change_of_the_disk_an_index_is_the_old_or_the_new_one(tmp_path, monkeypatch, change):
  def make(folder):
    index = new_index(folder, 5)
    index.put(rows(["x", "y"], seed=2))
    return index

  old = content(make(tmp_path / "old"))
  changed = make(tmp_path / "new")
  CHANGES[change](changed)
  new = content(open_index(tmp_path / "new"))
  seen = []
  for step in range(100):
    folder = tmp_path / f"killed{step}"
    index = make(folder)
    with killed_at(step, monkeypatch):
      CHANGES[change](index)
      break
    index._lock.release()  # as the system does for a killed process
    seen.append(content(open_index(folder)))
    assert seen[-1] in (old, new)
    again = create_index(folder, "a" * 64, DIM)
    assert not list(folder.glob(".segment-*"))
    assert len(list(folder.glob("segment-*"))) == len(json.loads((folder / "index.json").read_text())["segments"])
    if seen[-1] == old:
      CHANGES[change](again)
    assert content(open_index(folder)) == new
  assert step > 3
  assert seen[0] == old


@pytest.mark.parametrize("moment", range(3))
def test_opened_while_another_process_merges_an_index_is_the_old_or_the_new_one(tmp_path, monkeypatch, moment):
  """The writer removes the segments that the manifest named, when the reader has opened `moment` of them."""
  writer = new_index(tmp_path / "index", 5)
  writer.put(rows(["x", "y"], seed=2))
  writer.put(rows(["z"], seed=3))
  calls = []

  def open_late(*arguments, actual=exact.open_segment):
    calls.append(arguments)
    if len(calls) == moment + 1:
      writer.close()
    return actual(*arguments)

  monkeypatch.setattr(exact, "open_segment", open_late)
  opened = open_index(tmp_path / "index")
  assert len(calls) >= 3
  assert sorted(opened.entries()) == ["000", "001", "002", "003", "004", "x", "y", "z"]


def test_small_segments_are_merged_and_nothing_else_changes(tmp_path):
  index = new_index(tmp_path / "index", 5)
  for seed in range(1, 8):
    index.put(rows([f"more {seed}", "003"], seed=seed))
  index.delete(["000"])
  before = content(index)
  reader = open_index(tmp_path / "index")
  assert len(list((tmp_path / "index").glob("segment-*"))) == 8
  index.close()
  assert len(list((tmp_path / "index").glob("segment-*"))) == 1
  assert content(open_index(tmp_path / "index")) == before
  assert content(reader) == before  # what was open stays readable


def test_one_process_writes_at_a_time(tmp_path):
  index = new_index(tmp_path / "index", 3)
  with pytest.raises(InputError, match="is being written by another process"):
    new_index(tmp_path / "index")
  with pytest.raises(InputError, match="was opened to read"):
    open_index(tmp_path / "index").delete(["000"])
  index.close()
  new_index(tmp_path / "index").close()


@pytest.mark.parametrize("name", ["features.f32", "norms.f32", "entries.jsonl", "thumbnails.bin"])
def test_a_truncated_file_is_refused_by_its_name(tmp_path, name):
  new_index(tmp_path / "index", 3)
  file = tmp_path / "index" / "segment-00000001" / name
  os.truncate(file, file.stat().st_size - 1)
  with pytest.raises(InputError, match=f"segment-00000001/{name} has .* bytes, expected"):
    open_index(tmp_path / "index")
  file.unlink()
  with pytest.raises(InputError, match=f"segment-00000001/{name} is missing"):
    open_index(tmp_path / "index")


READS_CUT_INDEX = """
import os, pathlib, sys
import numpy as np
from composeret_jax.serving.index import open_index
from data_pipelines.input_error import InputError
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
index = open_index(folder)
os.truncate(folder / "segment-00000001" / name, 0)
try:
  index.search(np.ones((1, index.feature_dim), np.float32), 3) if sys.argv[3] == "search" else index.get(["001"])
except InputError as error:
  print(error)
"""


@pytest.mark.parametrize("name", ["features.f32", "thumbnails.bin"])
@pytest.mark.parametrize("use", ["search", "get"])
def test_a_file_that_is_cut_while_it_is_in_use_is_an_error_and_ends_no_process(tmp_path, name, use):
  if (name, use) == ("thumbnails.bin", "search"):
    pytest.skip("a search reads no thumbnails")
  new_index(tmp_path / "index", 3).close()
  command = [sys.executable, "-c", READS_CUT_INDEX, tmp_path / "index", name, use]
  done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
  assert (done.returncode, done.stderr) == (0, "")
  assert f"segment-00000001/{name} has 0 bytes, expected" in done.stdout


def test_an_index_that_another_process_has_replaced_stays_readable(tmp_path):
  new_index(tmp_path / "index", 3).close()
  opened = open_index(tmp_path / "index")
  before = content(open_index(tmp_path / "index"))
  writer = create_index(tmp_path / "index", "a" * 64, DIM)
  writer.put(rows(["000", "001", "002"], seed=1))
  writer.close()
  assert content(opened) == before


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_a_query_that_no_order_follows_from_is_refused(location, value):
  index = new_index(location, 3)
  queries = np.ones((2, DIM), np.float32)
  queries[1, 3] = value
  with pytest.raises(InputError, match="query 1 has values that are not finite, or beyond"):
    index.search(queries, 3)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 100])
def test_each_image_is_found_once_at_most(tmp_path, k):
  index = new_index(tmp_path / "index", 3)
  for queries in (np.zeros((2, DIM), np.float32), np.full((2, DIM), -1e6, np.float32)):
    for found in index.search(queries, k):
      assert sorted({id for id, _ in found}) == sorted(id for id, _ in found)
      assert len(found) == min(k, 3)
      assert np.isfinite([score for _, score in found]).all()


@pytest.mark.parametrize(
  ("path", "value", "message"),
  [
    (("format_version",), 2, "has format version 2, this program reads 1"),
    (("segments", 0, "name"), "../segment-00000001", "wrong name of a segment"),
    (("segments", 0, "rows"), -3, "wrong rows"),
    (("segments", 0, "rows"), 2**30, r"has .* bytes, expected"),
    (("segments", 0, "rows"), 2**40, "wrong rows"),
    (("segments", 0, "sizes", "entries.jsonl"), 10**40, "wrong sizes"),
    (("segments", 0, "name"), "segment-0000000１", "wrong name of a segment"),
    (("num_written",), 10**300, "wrong num_written"),
    (("segments", 0, "dead"), [7], "wrong dead rows"),
    (("segments", 0, "sizes"), {}, "has .* bytes, expected None"),
    (("feature_dim",), 0, "wrong feature_dim"),
    (("segments",), None, "is no description of an index"),
    (("segments", 0, "more"), 1, "is no description of an index"),
  ],
)
def test_a_manifest_that_says_something_else_is_refused(tmp_path, path, value, message):
  new_index(tmp_path / "index", 3)
  file = tmp_path / "index" / "index.json"
  fields = json.loads(file.read_text())
  place = fields
  for key in path[:-1]:
    place = place[key]
  place[path[-1]] = value
  file.write_text(json.dumps(fields))
  with pytest.raises(InputError, match=message):
    open_index(tmp_path / "index")


def test_what_is_no_index_is_left_alone(tmp_path):
  with pytest.raises(InputError, match="is no index: it has no index.json"):
    open_index(tmp_path)
  (tmp_path / "photos.txt").write_text("mine")
  with pytest.raises(InputError, match=r"is no index and not empty \(found: photos.txt\)"):
    new_index(tmp_path)
  assert [path.name for path in tmp_path.iterdir()] == ["photos.txt"]


@needs_milvus
def test_milvus_finds_what_exact_search_finds(tmp_path):
  exact, milvus = new_index(tmp_path / "index", 200), new_index(f"milvus:{tmp_path}/gallery.db", 200)
  queries = rows([str(i) for i in range(20)], seed=9).features

  def best(index):
    return [[id for id, _ in hits] for hits in index.search(queries, 10)]

  assert best(exact) == best(milvus)
  for index in (exact, milvus):
    index.delete([f"{i:03d}" for i in range(0, 200, 4)])
    index.put(rows([f"new {i}" for i in range(50)], seed=5))
  assert best(exact) == best(milvus)
  assert exact.entries() == milvus.entries()


@needs_milvus
def test_a_collection_that_another_process_has_just_made_is_taken(tmp_path, monkeypatch):
  from composeret_jax.serving.index import milvus

  new_index(f"milvus:{tmp_path}/gallery.db", 3).close()
  monkeypatch.setattr(milvus, "_find_collection", lambda *_: None)
  assert len(new_index(f"milvus:{tmp_path}/gallery.db")) == 3
