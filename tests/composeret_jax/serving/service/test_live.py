"""An index that is written while it is served, and filters by its metadata."""

import contextlib
import errno
import json
import statistics
import threading
import time
from unittest import mock
from urllib.parse import quote

import pytest

from composeret_jax.serving.index import create_index, open_index
from composeret_jax.serving.index.build import build, fill_index
from composeret_jax.serving.index.sources import folder_images
from composeret_jax.serving.searcher import Searcher
from composeret_jax.serving.service.app import build_app
from composeret_jax.serving.service.live import Live
from tests.fakes.fake_bundle import fake_bundle, write_images
from tests.fakes.served import ask, served
from tests.fakes.tiny_index import fill


def ids(answer):
  return [result["id"] for result in answer["results"]]


def test_an_index_is_written_anew_while_queries_come_in_and_none_fails(tmp_path, uploads):
  write_images(tmp_path / "images", 20)
  fill(tmp_path / "images", tmp_path / "index")
  failed, seconds, stop = [], [], threading.Event()

  def go_on_asking(address):
    while not stop.wait(0.2):
      start = time.monotonic()
      for request in ({"image": "000.png", "texts": ["red"]}, {"texts": ["box"]}):
        status, _, answer = ask(address, "/v1/search", {**request, "limit": 5})
        if status != 200 or len(answer["results"]) != 5:
          failed.append(answer)
      seconds.append(time.monotonic() - start)

  with served(build_app(Searcher(fake_bundle(), open_index(tmp_path / "index")), uploads=uploads)) as address:
    before = ask(address, "/v1/health")[2]
    asking = threading.Thread(target=go_on_asking, args=(address,))
    asking.start()
    for num in (40, 60, 80):  # new images, changed ones, and merged segments
      write_images(tmp_path / "images", num, seed=num)
      fill_index(fake_bundle(), str(tmp_path / "index"), folder_images(tmp_path / "images"), delete=["002.png"])
      ended = time.monotonic()
      while ask(address, "/v1/items/" + f"{num - 2:03d}.png")[0] != 200:
        assert time.monotonic() - ended < 5
        time.sleep(0.05)
    stop.set()
    asking.join()
    after = ask(address, "/v1/health")[2]
  assert failed == []
  assert len(seconds) > 5 and statistics.median(seconds) < 1
  assert (before["images"], after["images"]) == (20, 80)
  assert after["generation"] > before["generation"]


def test_an_index_that_is_damaged_or_of_another_bundle_is_not_taken_up(tmp_path, caplog):
  write_images(tmp_path / "images", 4)
  fill(tmp_path / "images", tmp_path / "index")
  live = Live(Searcher(fake_bundle(), open_index(tmp_path / "index")))
  first = live.searcher
  manifest = tmp_path / "index" / "index.json"
  content = manifest.read_text()
  for damaged in ("{", content.replace("a" * 64, "b" * 64), content.replace("segment-", "sgment-")):
    manifest.write_text(damaged)
    live.refresh()
    live.refresh()
    assert live.searcher is first
  assert len(caplog.records) == 3
  assert len(first.search("000.png", ["red"])) == 3
  manifest.write_text(content)
  live.refresh()
  assert live.searcher is not first and len(live.searcher.index) == 4


def test_an_index_that_cannot_be_read_for_a_moment_is_looked_at_again(tmp_path, monkeypatch, caplog):
  write_images(tmp_path / "images", 2)
  fill(tmp_path / "images", tmp_path / "index")
  live = Live(Searcher(fake_bundle(), open_index(tmp_path / "index")))
  first = live.searcher
  with monkeypatch.context() as patched:
    patched.setattr(first.index, "newest", mock.Mock(side_effect=OSError(errno.ESTALE, "Stale file handle")))
    live.refresh()
  assert live.searcher is first and "Stale file handle" in caplog.text
  write_images(tmp_path / "images", 4)
  fill(tmp_path / "images", tmp_path / "index")
  live.refresh()
  assert len(live.searcher.index) == 4


def test_parts_that_did_not_change_stay_open(tmp_path):
  write_images(tmp_path / "images", 4)
  fill(tmp_path / "images", tmp_path / "index")
  index = open_index(tmp_path / "index")
  assert index.newest() is index
  writing = create_index(tmp_path / "index", "a" * 64, index.feature_dim)
  writing.delete(["000.png"])
  newer = index.newest()
  assert len(newer) == 3
  assert newer._segments["segment-00000001"] is index._segments["segment-00000001"]
  writing.close()


@pytest.fixture(scope="module")
def shop(tmp_path_factory, uploads):
  """Hats are red and cost 0, 2, 4 ... euros, boxes are blue and cost 1, 3, 5 ..."""
  folder = tmp_path_factory.mktemp("shop")
  write_images(folder / "images", 20)
  rows = [
    {
      "id": f"{'box/' if i % 2 else ''}{i:03d}.png",
      "price": i,
      "colour": "blue" if i % 2 else "red",
      "note": f"n{i}" * 9,
    }
    | {"url": f"https://shop.example/{i}" if i else "javascript:alert(1)"}
    for i in range(20)
  ]
  (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  bundle = fake_bundle()
  index = create_index(folder / "index", bundle.fingerprint, bundle.feature_dim)
  with contextlib.closing(index):
    build(bundle, index, folder_images(folder / "images", metadata_file=folder / "rows.jsonl"))
  with served(build_app(Searcher(bundle, open_index(folder / "index")), uploads=uploads)) as address:
    yield address


def test_what_is_found_passes_the_filters(shop):
  filters = {"colour": "blue", "price": {"min": 3, "max": 11}}
  expected = {f"box/{i:03d}.png" for i in (3, 5, 7, 9, 11)}
  composed = {"image": "000.png", "texts": ["red"], "filters": filters}
  for request in (composed, {"image": "000.png", "filters": filters}, {"texts": ["red"], "filters": filters}):
    status, _, answer = ask(shop, "/v1/search", request)
    assert status == 200 and set(ids(answer)) == expected and answer["next_offset"] is None
  _, _, answer = ask(shop, "/v1/search", {"texts": ["box"], "filters": {"price": [3, 4]}, "limit": 9})
  assert ids(answer) == ["box/003.png"]
  _, _, answer = ask(shop, f"/v1/gallery?filter={quote(json.dumps(filters))}")
  assert set(ids(answer)) == expected
  assert answer["results"][0]["metadata"]["colour"] == "blue"


def test_columns_are_what_filters_can_name(shop):
  columns = {column["name"]: column for column in ask(shop, "/v1/columns")[2]["columns"]}
  assert columns["colour"] == {"name": "colour", "kind": "choice", "values": ["blue", "red"], "min": None, "max": None}
  assert columns["price"] == {"name": "price", "kind": "number", "values": None, "min": 0.0, "max": 19.0}


def test_a_link_is_shown_unless_it_is_a_script(shop):
  assert ask(shop, "/v1/items/box/001.png")[2]["url"] == "https://shop.example/1"
  assert ask(shop, "/v1/items/000.png")[2]["url"] is None


@pytest.mark.parametrize(
  ("filters", "message"),
  [
    ({"size": "S"}, "There is no column 'size' to filter by; there are: colour, note, price, url."),
    ({"colour": {"min": 1}}, "The column 'colour' is not of numbers"),
    ({"colour": {"min": "a"}}, "filters"),
    ({"colour": [["red"]]}, "filters"),
    ({"price": None}, "filters"),
    ({"a" * 501: "x"}, "filters"),
    ({str(i): 1 for i in range(21)}, "filters: Dictionary should have at most 20 items"),
  ],
)
def test_filters_that_fit_nothing_are_4xx(shop, filters, message):
  status, _, answer = ask(shop, "/v1/search", {"texts": ["red"], "filters": filters})
  assert status == 400 and message in answer["error"]
  status, _, answer = ask(shop, f"/v1/gallery?filter={quote(json.dumps(filters))}")
  assert status == 400 and answer["error"]


@pytest.mark.parametrize(
  "text", ["{", "[]", "3", "[" * 1000, '{"price": NaN}', '{"price": {"min": 1e999}}', "x" * 4001]
)
def test_a_filter_of_the_gallery_that_is_none_is_400(shop, text):
  assert ask(shop, f"/v1/gallery?filter={quote(text)}")[0] == 400
