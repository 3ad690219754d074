import contextlib
import dataclasses
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from composeret_jax.serving.index import create_index, Entry, exact, open_index, Rows
from composeret_jax.serving.index import nearest as nearest_module
from composeret_jax.serving.index.build import build, fill_index
from composeret_jax.serving.index.sources import folder_images, parse_shard, Shard, SourceImage
from composeret_jax.serving.searcher import Searcher
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import Resizing
from tests.fakes.fake_bundle import DIM, fake_bundle, write_images

ROOT = pathlib.Path(__file__).parents[3]

needs_milvus = pytest.mark.skipif(
  not (importlib.util.find_spec("pymilvus") and importlib.util.find_spec("milvus_lite")),
  reason="pymilvus and milvus-lite are not installed (the extra milvus)",
)


def rows(ids, features=None, seed=0):
  rng = np.random.default_rng(seed)
  features = rng.standard_normal((len(ids), DIM)) if features is None else features
  features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
  norms = rng.uniform(1, 2, len(ids)).astype(np.float32)
  entries = [Entry(id, sha256=f"{seed}", caption=f"caption of {id}", path=f"/images/{id}") for id in ids]
  return Rows(entries, features, norms, [f"jpeg {seed} {id}".encode() for id in ids])


def new_index(location, num=0):
  index = create_index(location, "a" * 64, DIM)
  if num:
    index.put(rows([f"{i:03d}" for i in range(num)]))
  return index


def content(index):
  """Everything that an index holds and finds, to be compared."""
  ids = sorted(index.entries())
  kept = index.get(ids)
  found = index.search(kept.features, 5)
  return ids, list(kept.entries), kept.features.tobytes(), kept.norms.tobytes(), list(kept.thumbnails), found


def assert_same_images(index, other):
  """The same images, whose features may come from batches of another size."""
  ids = sorted(index.entries())
  assert ids == sorted(other.entries())
  kept, others = index.get(ids), other.get(ids)
  assert list(kept.entries) == list(others.entries)
  assert list(kept.thumbnails) == list(others.thumbnails)
  np.testing.assert_allclose(kept.features, others.features, atol=1e-6)
  np.testing.assert_allclose(kept.norms, others.norms, rtol=1e-6)


def fill(folder, location, bundle=None, **options):
  bundle = bundle or fake_bundle()
  index = create_index(location, bundle.fingerprint, bundle.feature_dim)
  with contextlib.closing(index):
    return build(bundle, index, folder_images(folder), **options)


@pytest.fixture
def folder(tmp_path):
  write_images(tmp_path / "images", 10)
  return tmp_path / "images"


@pytest.fixture(params=["exact", pytest.param("milvus", marks=needs_milvus)])
def location(request, tmp_path):
  return {"exact": str(tmp_path / "index"), "milvus": f"milvus:{tmp_path}/gallery.db"}[request.param]


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


def test_search_is_numpys_argsort_with_ties_by_id(tmp_path, monkeypatch):
  monkeypatch.setattr(nearest_module, "BLOCK_ROWS", 16)
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
    for part in (slice(30), slice(30, 60), slice(60, 100)):
      index.put(dataclasses.replace(rows(ids[part]), features=features[part]))
    for k in (1, 7, 100, 150):
      found = index.search(queries, k)
      assert [[int(id) for id, _ in hits] for hits in found] == expected[:, :k].tolist()
      best = np.take_along_axis(scores, expected[:, :k], axis=1)
      assert [[score for _, score in hits] for hits in found] == best.tolist()


def test_an_empty_index_finds_nothing(tmp_path):
  index = new_index(tmp_path / "index")
  assert index.search(np.ones((2, DIM), np.float32), 3) == [[], []]
  index.put(rows(["a"]))
  index.delete(["a"])
  assert index.search(np.ones((1, DIM), np.float32), 3) == [[]]


def test_build_encodes_what_is_new_or_changed_and_nothing_else(folder, location):
  bundle = fake_bundle()
  assert fill(folder, location, bundle).num_encoded == 10
  calls = bundle._programs["encode_gallery"]
  calls.reset_mock()
  again = fill(folder, location, bundle)
  assert (again.num_encoded, again.num_skipped, calls.call_count) == (0, 10, 0)
  shutil.copy(folder / "000.png", folder / "002.png")  # another content under the same id
  shutil.copy(folder / "000.png", folder / "new.png")
  (folder / "004.png").unlink()
  changed = fill(folder, location, bundle)
  assert (changed.num_encoded, changed.num_skipped, changed.num_removed) == (2, 8, 0)
  index = open_index(location)
  kept = index.get(["000.png", "002.png", "new.png", "004.png"])
  np.testing.assert_allclose(kept.features[0], kept.features[1], atol=1e-6)  # encoded in batches of 64 and of 8
  np.testing.assert_allclose(kept.features[:1], bundle.encode([folder / "000.png"]), atol=1e-6)
  index.close()
  assert fill(folder, location, bundle, prune=True).num_removed == 1
  assert "004.png" not in open_index(location)


def test_captions_are_the_folders_the_stems_or_the_files(folder, tmp_path):
  bundle = fake_bundle()
  fill(folder, tmp_path / "index", bundle)
  entries = open_index(tmp_path / "index").entries()
  assert (entries["000.png"].caption, entries["box/001.png"].caption) == ("000", "box")
  assert entries["box/001.png"].path == str(folder / "box" / "001.png")
  captions = tmp_path / "captions.csv"
  captions.write_text('id,caption\n000.png,"a shirt, striped"\n')
  calls = bundle._programs["encode_gallery"]
  calls.reset_mock()
  index = create_index(tmp_path / "index", bundle.fingerprint, DIM)
  before = index.get(["000.png"])
  summary = build(bundle, index, folder_images(folder, captions))
  after = index.get(["000.png"])
  assert (summary.num_described, summary.num_skipped, calls.call_count) == (1, 9, 0)
  assert after.entries[0].caption == "a shirt, striped"
  assert after.features.tobytes() == before.features.tobytes()
  captions.write_text("image,caption,split\n000.png,a hat,train\n")  # as a catalogue's own file
  assert folder_images(folder, captions)[0].caption == "a hat"
  captions.write_text("id,caption\nnobody.png,x\n")
  with pytest.raises(InputError, match="captions of 1 images that .* lacks: nobody.png"):
    folder_images(folder, captions)


@pytest.mark.parametrize(
  "content, message",
  [
    ("id,caption\n000.png,red shoe, striped\n", r":2: 3 fields, expected the 2 of line 1"),
    ('id,caption\n000.png,"red shoe\n001.png,hat\n', "not CSV"),
    ("id,caption\n000.png,a\n./000.png,b\n", ":3: '000.png' is listed twice: an image has one caption"),
    ("id,caption\n,a\n", ":2: id: '', expected a path"),
    ("id,text\n000.png,a\n", "no column caption"),
  ],
)
def test_captions_are_read_as_strictly_as_a_catalogues_rows(folder, tmp_path, content, message):
  captions = tmp_path / "captions.csv"
  captions.write_text(content)
  with pytest.raises(InputError, match=message):
    folder_images(folder, captions)


def test_images_behind_links_and_of_all_suffixes_are_indexed(folder, tmp_path, capsys):
  linked = tmp_path / "linked"
  linked.mkdir()
  (linked / "all").symlink_to(folder)
  for name in ("a.avif", "b.JFIF", "c.ppm", "notes.txt"):
    (linked / name).write_bytes((folder / "000.png").read_bytes())
  assert len(folder_images(linked)) == 13
  assert "1 entries are left out" in capsys.readouterr().err


def test_a_bad_image_fails_with_its_path_or_is_listed(folder, tmp_path, capsys):
  (folder / "box" / "bad.png").write_bytes(b"no image")
  with pytest.raises(InputError, match="box/bad.png: not a readable image"):
    fill(folder, tmp_path / "index")
  fill_index(fake_bundle(), str(tmp_path / "index"), folder_images(folder), on_bad_image="skip")
  printed = capsys.readouterr().out
  assert "Left out, not readable: 1\n" in printed
  assert "box/bad.png: not a readable image" in printed
  assert "Encoded: 10" in printed
  fill_index(fake_bundle(), str(tmp_path / "index"), None, delete=["000.png", "002.png"])
  assert capsys.readouterr().out.startswith("Removed: 2\n")
  assert len(open_index(tmp_path / "index")) == 8


def test_a_name_that_is_not_utf_8_is_refused_or_listed_with_its_bytes_escaped(folder, location):
  strange = SourceImage("caf\udce9.png", "cup", "/a/caf\udce9.png", (folder / "000.png").read_bytes)
  bundle = fake_bundle()
  index = create_index(location, bundle.fingerprint, bundle.feature_dim)
  with contextlib.closing(index):
    with pytest.raises(InputError, match=r"caf\\udce9.png: this id of an image is not UTF-8"):
      build(bundle, index, [strange])
    summary = build(bundle, index, [*folder_images(folder), strange], on_bad_image="skip")
  assert (summary.num_encoded, len(summary.bad_images)) == (10, 1)
  summary.bad_images[0].encode()


@pytest.mark.parametrize("field", ["id", "caption", "path"])
def test_a_text_that_is_not_unicode_does_not_get_into_an_index(location, field):
  put = rows(["a", "b"])
  put.entries[1] = dataclasses.replace(put.entries[1], **{field: "caf\udce9"})
  with pytest.raises(InputError, match=rf"caf\\udce9: this {field} of an image is not UTF-8"):
    new_index(location).put(put)


def test_another_bundles_features_are_refused(folder, location):
  fill(folder, location)
  other = fake_bundle("b" * 64)
  with pytest.raises(InputError, match="bundle aaaaaaaaaaaa, this one is bbbbbbbbbbbb"):
    fill(folder, location, other)
  with pytest.raises(InputError, match="bundle aaaaaaaaaaaa, this one is bbbbbbbbbbbb"):
    Searcher(other, open_index(location))


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


PROGRAM = """
import sys, time
from composeret_jax.serving.index import build as build_module, create_index
from composeret_jax.serving.index.sources import parse_shard, Shard
from composeret_jax.serving.index.sources import folder_images
from tests.fakes.fake_bundle import DIM, fake_bundle
import pathlib

build_module.BATCH, build_module.COMMIT_ROWS = 4, 8
bundle = fake_bundle()
encode = bundle._programs["encode_gallery"].side_effect
def slow(*arguments):
  time.sleep(0.02)
  return encode(*arguments)
bundle._programs["encode_gallery"].side_effect = slow
index = create_index(sys.argv[2], bundle.fingerprint, DIM)
print("ready", flush=True)
build_module.build(bundle, index, folder_images(pathlib.Path(sys.argv[1])))
index.close()
"""


def start_build(folder, location):
  command = [sys.executable, "-c", PROGRAM, str(folder), str(location)]
  environment = os.environ | {"PYTHONPATH": str(ROOT)}
  return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_five_kills_and_a_last_run_make_the_index_of_one_run(tmp_path):
  folder = tmp_path / "images"
  write_images(folder, 100)
  whole = start_build(folder, tmp_path / "whole")
  assert whole.wait(timeout=120) == 0, whole.stderr.read()
  sizes = []
  for delay in (0.0, 0.02, 0.07, 0.12, 0.17):
    process = start_build(folder, tmp_path / "killed")
    assert process.stdout.readline() == "ready\n"
    time.sleep(delay)
    while delay == 0.17 and not len(open_index(tmp_path / "killed")) and process.poll() is None:
      time.sleep(0.005)  # a busy machine: the last kill is to find something written
    process.send_signal(signal.SIGKILL)
    process.wait()
    sizes.append(len(open_index(tmp_path / "killed")))
  assert sizes == sorted(sizes)
  assert 0 < sizes[-1] < 100
  last = start_build(folder, tmp_path / "killed")
  assert last.wait(timeout=120) == 0, last.stderr.read()
  assert content(open_index(tmp_path / "killed")) == content(open_index(tmp_path / "whole"))


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
def test_two_processes_with_a_shard_each_make_the_index_of_one(folder, tmp_path):
  whole, shared = (f"milvus:{tmp_path}/{name}.db" for name in ("whole", "shared"))
  fill(folder, whole)
  sizes = []
  for number in (0, 1):
    fill_index(fake_bundle(), shared, folder_images(folder), shard=Shard(number, 2))
    sizes.append(len(open_index(shared)))
  assert 0 < sizes[0] < sizes[1] == 10
  assert_same_images(open_index(shared), open_index(whole))


def test_shards_share_all_images_and_one_more_image_moves_no_other(folder):
  images = folder_images(folder)
  shards = [Shard(number, 3).of(images) for number in range(3)]
  assert sorted(image.id for shard in shards for image in shard) == [image.id for image in images]
  for number, shard in enumerate(shards):
    assert Shard(number, 3).of(images[1:]) == [image for image in shard if image is not images[0]]


@pytest.mark.parametrize("text", ["1", "4/4", "-1/4", "a/b", "1/0", "0/"])
def test_what_is_no_shard_is_refused(text):
  with pytest.raises(InputError, match=f"--shard={text}, expected NUMBER/COUNT"):
    parse_shard(text)
  assert parse_shard("3/4") == Shard(3, 4)


def test_shards_are_for_milvus_and_do_not_prune(folder, tmp_path):
  options = {"images": folder_images(folder), "shard": Shard(0, 2)}
  with pytest.raises(InputError, match="one process writes the index at .*, several need --index=milvus:"):
    fill_index(fake_bundle(), str(tmp_path / "index"), **options)
  with pytest.raises(InputError, match="--prune with --shard would remove the other shards' images"):
    fill_index(fake_bundle(), f"milvus:{tmp_path}/gallery.db", prune=True, **options)
  assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]


@needs_milvus
def test_a_collection_that_another_process_has_just_made_is_taken(tmp_path, monkeypatch):
  from composeret_jax.serving.index import milvus

  new_index(f"milvus:{tmp_path}/gallery.db", 3).close()
  monkeypatch.setattr(milvus, "_find_collection", lambda *_: None)
  assert len(new_index(f"milvus:{tmp_path}/gallery.db")) == 3


def test_images_are_resized_as_the_bundle_says(folder, tmp_path):
  bundle, squashing = fake_bundle(), fake_bundle()
  squashing.resizing = Resizing("squash", "bicubic")
  files = sorted(folder.rglob("*.png"))
  ids = [str(file.relative_to(folder)) for file in files]
  for used, other, location in ((bundle, squashing, "one"), (squashing, bundle, "other")):
    fill(folder, str(tmp_path / location), used)
    with contextlib.closing(open_index(str(tmp_path / location))) as index:
      features = index.get(ids).features
    np.testing.assert_allclose(features, used.encode(files), atol=1e-6)
    assert np.abs(features - other.encode(files)).max() > 1e-3
