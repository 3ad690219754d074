"""8-bit copies of features: fast searches that find what exact search finds."""

import json

import numpy as np
import pytest

from composeret_jax.serving.index import create_index, open_index
from composeret_jax.serving.index.build import fill_index
from composeret_jax.serving.index.columns import Between
from composeret_jax.serving.index.sources import folder_images
from data_pipelines.input_error import InputError
from tests.fakes.fake_bundle import DIM, fake_bundle, write_images
from tests.fakes.tiny_index import needs_milvus, rows


def names(start, stop):
  return [f"{number:04d}" for number in range(start, stop)]


def written(folder):
  """Two segments, an image replaced and two removed before the copies are made, and changes after it."""
  index = create_index(folder, "a" * 64, DIM)
  index.put(rows(names(0, 3000), seed=1))
  index.put(rows(names(2990, 5500), seed=2))
  index.delete(["0007", "5001"])
  assert index.quantise() > 0.99
  return index


def exact(index, queries, k, allowed=lambda id: True):
  """A second implementation: all products, sorted."""
  ids = [id for id in sorted(index.entries()) if allowed(id)]
  scores = index.get(ids).features @ queries.T
  return [[ids[row] for row in np.argsort(-own, kind="stable")[:k]] for own in scores.T]


def found(index, queries, k, filters=()):
  return [[id for id, _ in hits] for hits in index.search(queries, k, filters)]


def test_copies_find_what_exact_search_finds_whatever_changes_after_them(tmp_path):
  index = written(tmp_path / "index")
  queries = rows(names(0, 20), seed=9).features
  assert found(index, queries, 10) == exact(index, queries, 10)
  index.put(rows([*names(100, 110), *names(6000, 6020)], seed=3))
  index.delete(["0008"])
  assert index._quantised is not None
  own = index.get(["6003", "0105"])
  assert found(index, own.features, 1) == [["6003"], ["0105"]]
  assert found(index, queries, 10) == exact(index, queries, 10)
  index._lock.release()
  read = open_index(tmp_path / "index")
  assert found(read, queries, 10) == exact(read, queries, 10)
  scores = [score for _, score in read.search(queries[:1], 10)[0]]
  ids = found(read, queries[:1], 10)[0]
  np.testing.assert_allclose(scores, read.get(ids).features @ queries[0], rtol=1e-6)


def test_filters_hold_for_copies(tmp_path):
  index = create_index(tmp_path / "index", "a" * 64, DIM)
  kept = rows(names(0, 4000), seed=1)
  for number, entry in enumerate(kept.entries):
    entry.metadata["price"] = number
  index.put(kept)
  index.quantise()
  queries = rows(names(0, 5), seed=9).features
  for low, high in ((0.0, 9.0), (1000.0, 2000.0), (5000.0, 6000.0)):
    expected = exact(index, queries, 10, lambda id, low=low, high=high: low <= int(id) <= high)
    assert found(index, queries, 10, (Between("price", low, high),)) == expected
  index.close()


def test_copies_of_segments_that_are_gone_are_not_used_and_damaged_ones_are_named(tmp_path):
  written(tmp_path / "index")._lock.release()
  queries = rows(names(0, 5), seed=9).features
  description = tmp_path / "index" / "quantised.json"
  content = json.loads(description.read_text())
  (file,) = (tmp_path / "index").glob("quantised-*.faiss")
  description.write_text(json.dumps(content | {"rows": {"segment-99999999": 3}}))
  read = open_index(tmp_path / "index")
  assert read._quantised is None
  assert found(read, queries, 10) == exact(read, queries, 10)
  for damage in ({"file": "../../etc/passwd"}, {"rows": 3}, {"size": -1}, {"size": 5}):
    description.write_text(json.dumps(content | damage))
    with pytest.raises(InputError, match="copies|missing, a link"):
      open_index(tmp_path / "index").search(queries, 10)
  description.write_text(json.dumps(content))
  file.write_bytes(b"x" * content["size"])
  with pytest.raises(InputError, match="is no file of FAISS"):
    open_index(tmp_path / "index").search(queries, 10)


def test_a_served_index_takes_copies_up(tmp_path):
  index = create_index(tmp_path / "index", "a" * 64, DIM)
  index.put(rows(names(0, 50)))
  read = open_index(tmp_path / "index")
  index.quantise()
  newer = read.newest()
  assert newer is not read and newer._quantised is not None and newer.generation > read.generation
  index.close()


def test_the_command_makes_copies_once_and_keeps_them_fresh(tmp_path, capsys):
  bundle, location = fake_bundle(), str(tmp_path / "index")
  write_images(tmp_path / "images", 20)
  fill_index(bundle, location, folder_images(tmp_path / "images"))
  assert "8-bit" not in capsys.readouterr().out
  fill_index(bundle, location, folder_images(tmp_path / "images"), quantise=True)
  assert "8-bit copies: recall@10 against exact search 1.0000\n" in capsys.readouterr().out
  write_images(tmp_path / "images", 30)
  fill_index(bundle, location, folder_images(tmp_path / "images"))
  assert "8-bit copies: recall@10" in capsys.readouterr().out
  assert len(list((tmp_path / "index").glob("quantised-*.faiss"))) == 1
  assert len(open_index(location)._quantised._rows) == 30


@needs_milvus
def test_copies_of_an_index_in_milvus_are_refused_before_an_image_is_encoded(folder, tmp_path):
  bundle = fake_bundle()
  with pytest.raises(InputError, match="--quantise is for an index in a folder"):
    fill_index(bundle, f"milvus:{tmp_path / 'index.db'}", folder_images(folder), quantise=True)
  assert not bundle._programs["encode_gallery"].called
