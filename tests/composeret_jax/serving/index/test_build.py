"""Filling an index with the images of a folder."""

import contextlib
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

from composeret_jax.serving.index import create_index, open_index
from composeret_jax.serving.index.build import build, fill_index
from composeret_jax.serving.index.sources import folder_images, parse_shard, Shard, SourceImage
from composeret_jax.serving.searcher import Searcher
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import Resizing
from tests.fakes.fake_bundle import DIM, fake_bundle, write_images
from tests.fakes.tiny_index import assert_same_images, content, fill, needs_milvus

ROOT = pathlib.Path(__file__).parents[4]


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


def test_a_caption_among_metadata_is_a_text(folder, tmp_path):
  numbers = tmp_path / "rows.csv"
  numbers.write_text("id,caption,price\n000.png,501,3\n002.png,7,4\n")  # article numbers
  by_id = {image.id: image for image in folder_images(folder, metadata_file=numbers)}
  assert (by_id["000.png"].caption, by_id["002.png"].caption) == ("501", "7")
  assert by_id["000.png"].metadata == {"price": 3.0}
  for value in ('["red", "hat"]', "true", "5"):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(f'{{"id": "000.png", "caption": {value}}}\n')
    with pytest.raises(InputError, match=r"rows.jsonl:1: caption is .*, expected a text"):
      folder_images(folder, metadata_file=rows)


def test_an_endless_caption_is_refused_and_the_longest_one_is_read_back(folder, tmp_path):
  captions = tmp_path / "captions.jsonl"
  for length, is_kept in ((65_535, True), (65_536, False)):
    row = {"id": "000.png", "caption": "\x01" * length}  # six letters of JSON each
    captions.write_text(json.dumps(row) + "\n")
    if is_kept:
      fill_index(fake_bundle(), str(tmp_path / "index"), folder_images(folder, captions))
    else:
      with pytest.raises(InputError, match="000.png: its caption has 65,536 bytes, an index keeps 65,535"):
        fill_index(fake_bundle(), str(tmp_path / "index"), folder_images(folder, captions))
  assert len(open_index(tmp_path / "index").entries()["000.png"].caption) == 65_535


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


def test_another_bundles_features_are_refused(folder, location):
  fill(folder, location)
  other = fake_bundle("b" * 64)
  with pytest.raises(InputError, match="bundle aaaaaaaaaaaa, this one is bbbbbbbbbbbb"):
    fill(folder, location, other)
  with pytest.raises(InputError, match="bundle aaaaaaaaaaaa, this one is bbbbbbbbbbbb"):
    Searcher(other, open_index(location))


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
