"""What the API finds, as programs ask for it."""

import concurrent.futures
import io
import time
from urllib.parse import quote

from PIL import Image
import pytest

from composeret_jax.serving.service.app import build_app
from composeret_jax.serving.service.retrieval import Retrieval
from tests.fakes.served import ask, encoded_image, HOSTILE, NOT_UTF_8, served, upload


def search(address, **request):
  status, _, answer = ask(address, "/v1/search", request)
  assert status == 200, answer
  return answer


def ids(answer):
  return [result["id"] for result in answer["results"]]


def test_a_composed_search_finds_what_the_searcher_finds(address, searcher):
  found = search(address, image="004", texts=["red", "blue"], limit=7, text_weight=0.5)
  query = searcher.from_id("004")
  for text in ("red", "blue"):
    query = searcher.refine(query, text, text_weight=0.5)
  expected = searcher.rank([query], 7)[0]
  assert [(row["id"], row["caption"]) for row in found["results"]] == [(it.id, it.caption) for it in expected]
  assert [row["score"] for row in found["results"]] == pytest.approx([it.score for it in expected], abs=1e-6)
  assert (found["kind"], found["next_offset"], found["message"]) == ("composed", 7, None)
  assert found["results"][0].keys() == {"id", "score", "caption", "metadata", "thumbnail"}


def test_pages_of_a_list_are_the_list(address):
  whole = search(address, image="004", texts=["red"], limit=40)
  parts, offset = [], 0
  while offset is not None:
    part = search(address, image="004", texts=["red"], limit=9, offset=offset)
    parts, offset = parts + ids(part), part["next_offset"]
  assert parts[:40] == ids(whole) and len(parts) == len(set(parts)) == 41
  assert "004" not in parts


def test_an_upload_is_searched_for(address, searcher):
  content = encoded_image(seed=99)
  status, sent = upload(address, content)
  assert status == 200
  found = search(address, upload=sent["upload"], texts=["striped"], limit=5)
  assert ids(found) == [result.id for result in searcher.search(content, ["striped"], 5)]
  assert ids(search(address, upload=sent["upload"], limit=3)) == [it.id for it in searcher.search(content, (), 3)]
  status, headers, jpeg = ask(address, f"/{sent['thumbnail']}")
  assert (status, headers["content-type"]) == (200, "image/jpeg")
  assert Image.open(io.BytesIO(jpeg)).size == (10, 12)


def test_words_find_captions_first_and_then_what_the_text_means(address, searcher):
  found = search(address, texts=["hat"], limit=30)
  hats = {f"{i:03d}" for i in range(0, 40, 2)}
  assert set(ids(found)[:20]) == hats
  assert not hats & set(ids(found)[20:])
  assert (found["kind"], found["message"]) == ("words", None)
  both = search(address, texts=["red striped"], limit=5)
  text = searcher.from_text("red striped")
  assert ids(both) == [result.id for result in searcher.rank([text], 5)[0]]
  assert both["message"] == "No caption has “red”, “striped”."
  turned = search(address, texts=["red", "blue"], limit=5)
  assert ids(turned) == [it.id for it in searcher.rank([searcher.refine(searcher.from_text("red"), "blue")], 5)[0]]


def test_a_typo_names_the_nearest_word_and_leaves_no_blank_pane(address):
  found = search(address, texts=["hta"], limit=5)
  assert len(found["results"]) == 5
  assert found["message"] == "No caption has “hta”. Did you mean “hat”?"
  assert (found["nearest_word"], found["unknown_words"]) == ("hat", ["hta"])
  assert len(search(address, texts=["赤い"], limit=5)["results"]) == 5


def test_words_that_the_model_does_not_know_are_named(address):
  assert search(address, image="004", texts=["red and so on", "blue and <i>"])["unknown_words"] == [
    "and",
    "so",
    "on",
    "i",
  ]
  assert search(address, image="004", texts=["red"])["unknown_words"] == []


def test_compose_gives_the_feature_of_the_query(address, searcher):
  status, _, composed = ask(address, "/v1/compose", {"image": "004", "texts": ["red"]})
  query = searcher.refine(searcher.from_id("004"), "red")
  assert status == 200
  assert composed["feature"] == pytest.approx(query.feature.tolist(), abs=1e-6)
  assert composed["norm"] == pytest.approx(query.norm, rel=1e-6)


def test_the_gallery_shows_every_image_once_and_neighbours_apart(address):
  shown, offset = [], 0
  while offset is not None:
    _, _, part = ask(address, f"/v1/gallery?limit=10&offset={offset}")
    shown, offset = shown + ids(part), part["next_offset"]
  assert len(shown) == len(set(shown)) == 42
  numbers = [int(id) for id in shown if id.isdigit()]
  assert min(abs(one - other) for one, other in zip(numbers, numbers[1:], strict=False)) > 5
  assert ask(address, "/v1/gallery?limit=10")[2] == ask(address, "/v1/gallery?limit=10")[2]


@pytest.mark.parametrize("id", ["004", HOSTILE, NOT_UTF_8.encode("utf-8", "backslashreplace").decode()])
def test_every_id_has_its_item_and_its_pictures(address, searcher, id):
  status, _, item = ask(address, f"/v1/items/{quote(id)}")
  assert (status, item["id"]) == (200, id)
  for path in (item["thumbnail"], item["image"]):
    status, headers, jpeg = ask(address, f"/{path}")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(jpeg)).size == (10, 12)
  assert id in ids(search(address, texts=[id[:10]]))
  assert search(address, image=id, limit=2)["results"][0]["id"] != id


def test_a_thumbnail_is_kept_for_ever_by_its_version_and_for_a_moment_without(address):
  _, _, item = ask(address, "/v1/items/004")
  _, headers, _ = ask(address, f"/{item['thumbnail']}")
  assert "immutable" in headers["cache-control"]
  _, other, _ = ask(address, f"/{item['thumbnail'].partition('?')[0]}")
  assert other["cache-control"] == "private, max-age=60"
  assert ask(address, f"/{item['thumbnail']}", headers={"If-None-Match": headers["etag"]})[0] == 304


def test_sixteen_at_once_are_answered_right_and_in_batches(address, searcher):
  names = [f"{i:03d}" for i in range(16)]
  expected = [searcher.search(id, ["red"], 5)[0].id for id in names]
  sizes = []
  rank = searcher.rank_many
  searcher.rank_many = lambda queries, *rest: sizes.append(len(queries)) or rank(queries, *rest)
  try:
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
      for _ in range(5):
        found = threads.map(lambda id: search(address, image=id, texts=["red"], limit=5), names)
        assert [ids(answer)[0] for answer in found] == expected
  finally:
    del searcher.rank_many
  assert sum(sizes) == 80
  assert max(sizes) > 1


def test_the_openapi_document_describes_every_address(address):
  _, _, document = ask(address, "/v1/openapi.json")
  assert document["paths"].keys() >= {"/v1/search", "/v1/gallery", "/v1/items/{id}", "/v1/uploads", "/v1/feedback"}
  answers = document["paths"]["/v1/search"]["post"]["responses"]
  assert answers["4XX"]["content"]["application/json"]["schema"]["$ref"].endswith("/Problem")
  assert "422" not in answers


def test_health_page_and_metrics(address):
  ask(address, "/v1/gallery")
  assert ask(address, "/v1/health")[2]["images"] == 42
  assert ask(address, "/v1/page")[2]["composes_turns"] is True
  text = ask(address, "/metrics")[2].decode()
  assert 'composeret_requests_total{method="GET",route="/v1/gallery",status="200"}' in text
  assert "composeret_images 42.0" in text


def test_an_answer_leaves_before_the_last_of_many_searches_begins(searcher, uploads, monkeypatch):
  begun, answered, search = [], [], Retrieval.search

  def slow_search(retrieval, request):
    begun.append(time.monotonic())
    time.sleep(0.5)
    return search(retrieval, request)

  monkeypatch.setattr(Retrieval, "search", slow_search)
  with served(build_app(searcher, uploads=uploads)) as address, concurrent.futures.ThreadPoolExecutor(120) as people:

    def person(_):
      status, _, content = ask(address, "/v1/search", {"image": "004", "limit": 3})
      answered.append(time.monotonic())
      return status, len(content["results"])

    assert set(people.map(person, range(120))) == {(200, 3)}  # three times as many as there are threads
  assert min(answered) < max(begun)
