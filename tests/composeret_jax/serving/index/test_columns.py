"""Metadata of any kind: read from files, kept, and filtered by, exactly and in Milvus."""

import contextlib
import json
import math

import numpy as np
import pyarrow
from pyarrow import parquet
import pytest

from composeret_jax.serving.index import create_index, open_index
from composeret_jax.serving.index.build import build
from composeret_jax.serving.index.columns import Between, ColumnInfo, OneOf
from composeret_jax.serving.index.sources import folder_images
from data_pipelines.input_error import InputError
from tests.fakes.fake_bundle import DIM, fake_bundle, write_images
from tests.fakes.tiny_index import needs_milvus, rows

METADATA = {
  "a": {"price": 10, "colour": "red", "tags": ["new", "sale"], "new": True},
  "b": {"price": 19.5, "colour": "blue", "tags": ["sale"]},
  "c": {"price": 30, "colour": "red", "new": False},
  "d": {},
}


def filled(location):
  kept = rows(sorted(METADATA), seed=1)
  for entry in kept.entries:
    entry.metadata.update(METADATA[entry.id])
  index = create_index(location, "a" * 64, DIM)
  index.put(kept)
  index.close()
  return open_index(location)


@pytest.fixture(params=["exact", pytest.param("milvus", marks=needs_milvus)], scope="module")
def index(request, tmp_path_factory):
  folder = tmp_path_factory.mktemp("filtered")
  return filled(folder / "index" if request.param == "exact" else f"milvus:{folder / 'index.db'}")


@pytest.mark.parametrize(
  ("filters", "expected"),
  [
    ((OneOf("colour", ("red",)),), "ac"),
    ((OneOf("colour", ("red", "blue")),), "abc"),
    ((OneOf("colour", ("green",)),), ""),
    ((OneOf("colour", ('re"d',)),), ""),
    ((OneOf("tags", ("sale",)),), "ab"),
    ((OneOf("tags", ("new", "old")),), "a"),
    ((OneOf("new", ("true",)),), "a"),
    ((OneOf("new", ("true", "false")),), "ac"),
    ((OneOf("price", (10.0,)),), "a"),
    ((Between("price", 10.0, 19.5),), "ab"),
    ((Between("price", low=11.0),), "bc"),
    ((Between("price", high=math.inf),), "abc"),
    ((Between("price", 11.0), OneOf("colour", ("red",))), "c"),
  ],
)
def test_what_is_found_passes_the_filters(index, filters, expected):
  query = rows(["q"]).features
  passing = [hit for hit in index.search(query, 4)[0] if hit[0] in expected]
  found = index.search(query, 4, filters)[0]
  assert [id for id, _ in found] == [id for id, _ in passing]
  assert [score for _, score in found] == pytest.approx([score for _, score in passing], abs=1e-6)
  assert [id for id, _ in index.search(query, 1, filters)[0]] == [id for id, _ in passing][:1]
  assert sorted(index.browse(10, 0, filters)) == sorted(index.find("", 10, filters)) == list(expected)
  assert sorted(index.find("caption", 10, filters)) == list(expected)


def test_columns_say_what_can_be_filtered(index):
  assert index.columns() == [
    ColumnInfo("colour", "choice", ("blue", "red")),
    ColumnInfo("new", "choice", ("false", "true")),
    ColumnInfo("price", "number", low=10.0, high=30.0),
    ColumnInfo("tags", "choice", ("new", "sale")),
  ]
  assert {id: dict(entry.metadata) for id, entry in index.entries().items()} == METADATA


@pytest.mark.parametrize(
  ("condition", "message"),
  [
    (OneOf("size", ("S",)), "no column 'size' to filter by; there are: colour"),
    (Between("colour", 1.0), "not of numbers"),
  ],
)
def test_filters_that_fit_no_column_are_refused(index, condition, message):
  with pytest.raises(InputError, match=message):
    index.search(rows(["q"]).features, 4, (condition,))
  with pytest.raises(InputError, match=message):
    index.browse(4, 0, (condition,))


FIELDS = {"price": [10.0, 2.5], "code": ["007", "7"], "size": ["S", None]}


def write_csv(file):
  file.write_text("id,price,code,size\n000.png,10,007,S\n./box/001.png,2.5,7,\n")


def write_jsonl(file):
  lines = [{"image": "000.png", "price": 10.0, "code": "007", "size": "S"}, {"image": "box/001.png", "price": 2.5}]
  lines[1] |= {"code": "7", "size": None}
  file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_parquet(file):
  parquet.write_table(pyarrow.table({"id": ["000.png", "box/001.png"], **FIELDS}), file)


@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_metadata_are_read_from_any_file_of_rows(tmp_path, write):
  write_images(tmp_path / "images", 3)
  file = tmp_path / f"rows.{write.__name__.removeprefix('write_')}"
  write(file)
  found = {image.id: image.metadata for image in folder_images(tmp_path / "images", metadata_file=file)}
  assert found == {
    "000.png": {"price": 10.0, "code": "007", "size": "S"},
    "box/001.png": {"price": 2.5, "code": "7"},
    "002.png": {},
  }


def test_a_change_of_metadata_encodes_nothing_and_a_column_caption_is_the_caption(tmp_path):
  write_images(tmp_path / "images", 3)
  bundle = fake_bundle()
  for price, summary in ((1, (3, 0)), (2, (0, 1)), (2, (0, 0))):
    (tmp_path / "rows.csv").write_text(f"id,caption,price\n000.png,a hat,{price}\n")
    index = create_index(tmp_path / "index", bundle.fingerprint, bundle.feature_dim)
    with contextlib.closing(index):
      done = build(bundle, index, folder_images(tmp_path / "images", None, tmp_path / "rows.csv"))
    assert (done.num_encoded, done.num_described) == summary
  entry = open_index(tmp_path / "index").entries()["000.png"]
  assert (entry.caption, entry.metadata) == ("a hat", {"price": 2.0})


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("rows.csv", "name,price\na,1\n", "no column id or image"),
    ("rows.csv", "id,price\n000.png,1\n./000.png,2\n", "rows.csv:3: '000.png' is listed twice"),
    ("rows.csv", "id,price\n../000.png,1\n", "rows.csv:2: id: '../000.png', expected a path below"),
    ("rows.csv", "id,price\nnobody.png,1\n", "has rows of 1 images that .* lacks: nobody.png"),
    ("rows.jsonl", '{"id": "000.png", "price": {"eur": 1}}\n', "rows.jsonl:1: price is .*, expected a text, a number"),
    ("rows.jsonl", '{"id": "000.png", "price": 1e300}\n', "rows.jsonl:1: price is"),
    ("rows.jsonl", '{"id": "000.png", "x": "\\ud800"}\n', "not Unicode"),
    ("rows.jsonl", '{"id": 3, "x": "a"}\n', "id is 3, expected the name of an image"),
    ("rows.jsonl", '{"id": "000.png", "x": "' + "y" * 60_000 + '"}\n', "metadata have 60,0.. bytes"),
  ],
)
def test_rows_that_cannot_be_used_are_refused_with_their_place(tmp_path, name, content, message):
  write_images(tmp_path / "images", 2)
  (tmp_path / name).write_text(content)
  with pytest.raises(InputError, match=message):
    folder_images(tmp_path / "images", None, tmp_path / name)


def test_an_index_of_before_has_no_metadata_and_can_be_given_some(tmp_path):
  index = create_index(tmp_path / "index", "a" * 64, DIM)
  index.put(rows(["a", "b"]))
  index.close()
  (lines,) = (tmp_path / "index").glob("segment-*/entries.jsonl")
  assert "metadata" not in lines.read_text()  # as programs wrote it before, and read it
  index = create_index(tmp_path / "index", "a" * 64, DIM)
  kept = rows(["b"])
  kept.entries[0].metadata["colour"] = "red"
  index.put(kept)
  index.close()
  index = open_index(tmp_path / "index")
  assert [id for id, _ in index.search(kept.features, 2, (OneOf("colour", ("red",)),))[0]] == ["b"]
  assert np.isfinite(index.search(kept.features, 2)[0][1][1])
