"""The HTTP API, as scripts and strangers meet it."""

import base64
import concurrent.futures
import http.client
import io
import json
import time
import urllib.error
import urllib.request

from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image
import pytest

from composeret_jax.serving.page.actions import change, Page, public_message
from composeret_jax.serving.page.conversation import Conversation
from composeret_jax.serving.page.guard import MAX_BODY
from composeret_jax.serving.searcher import Query
from data_pipelines.input_error import InputError
from tests.composeret_jax.serving.page.conftest import encoded_image, HOSTILE, NOT_UTF_8


@pytest.fixture(scope="module")
def client(address):
  return Client(address, verbose=False)


def post(url, content):
  request = urllib.request.Request(url, content, {"Content-Type": "application/json"})
  with urllib.request.urlopen(request, timeout=30) as response:
    return json.load(response)


def status(url):
  try:
    return post(url, None)
  except urllib.error.HTTPError as error:
    return error.code
  except json.JSONDecodeError:
    return 200


def answer(address, body, path="/gradio_api/run/search"):
  """Status and JSON of a request with this body."""
  content = body if isinstance(body, bytes) else json.dumps(body).encode()
  request = urllib.request.Request(f"{address}{path}", content, {"Content-Type": "application/json"})
  try:
    with urllib.request.urlopen(request, timeout=30) as response:
      return response.status, json.load(response)
  except urllib.error.HTTPError as error:
    return error.code, json.load(error)


def status_of_headers(address, headers, path="/gradio_api/upload"):
  """The answer to a request of which no more is sent."""
  connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
  connection.putrequest("POST", path)
  for name, value in headers.items():
    connection.putheader(name, value)
  connection.endheaders()
  answer = connection.getresponse().status
  connection.close()
  return answer


def test_the_api_finds_what_the_searcher_finds(client, searcher):
  found = client.predict(reference="004", texts=["red", "blue"], k=7, text_weight=0.5, api_name="/search")
  query = searcher.from_id("004")
  for text in ("red", "blue"):
    query = searcher.refine(query, text, text_weight=0.5)
  expected = searcher.rank([query], 7)[0]
  assert [(row["rank"], row["id"], row["caption"]) for row in found] == [
    (rank, result.id, result.caption) for rank, result in enumerate(expected, 1)
  ]
  assert [row["score"] for row in found] == pytest.approx([result.score for result in expected], abs=1e-6)
  assert found[0].keys() == {"rank", "id", "score", "caption", "thumbnail"}
  jpeg = base64.b64decode(found[0]["thumbnail"].removeprefix("data:image/jpeg;base64,"))
  assert Image.open(io.BytesIO(jpeg)).size == (10, 12)


def test_an_image_can_be_sent(client, searcher):
  content = encoded_image(seed=99)
  image = base64.b64encode(content).decode()
  found = client.predict(image=image, texts=["striped"], k=5, api_name="/search")
  assert [row["id"] for row in found] == [result.id for result in searcher.search(content, ["striped"], 5)]


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({}, "there is no reference"),
    ({"reference": "nobody"}, "No picture here has the id nobody"),
    ({"reference": "004", "texts": [" "]}, "There is no text"),
    ({"reference": "004", "texts": ["赤い"]}, "no word of '赤い' is known to the model"),
    ({"reference": "004", "texts": ["red", "and so on"]}, "no word of 'and so on' is known to the model: and, so, on"),
    ({"reference": "004", "texts": ["x" * 501]}, "501 characters; at most 500"),
    ({"reference": "004", "texts": ["red"] * 30}, "30 turns"),
    ({"reference": "004", "k": 0}, "k is 0, expected 1 to 100"),
    ({"image": "???"}, "not base64"),
    ({"image": base64.b64encode(b"no image").decode()}, "This file is no image"),
  ],
)
def test_mistakes_are_answered_in_words(client, arguments, message):
  with pytest.raises(AppError, match=message):
    client.predict(**{"texts": ["red"], **arguments}, api_name="/search")


def test_words_that_the_model_does_not_know_are_named(address, searcher):
  status, found = answer(address, {"data": ["004", ["red and so on", "blue and <i>"], "", 5, 0.0, 0.0]})
  assert status == 200 and len(found["data"][0]) == 5
  assert found["unknown_words"] == ["and", "so", "on", "i"]
  assert answer(address, {"data": ["004", ["red"], "", 5, 0.0, 0.0]})[1]["unknown_words"] == []
  page = Page(searcher)
  conversation = Conversation((page.from_id("004"), change("red and so", 0, 0), change("blue", 0, 0)))
  assert page.shown(conversation, 5).line == "Closest to what you said. Not known, and left out: and, so"
  anew = conversation.said(page.from_id("005"), change("blue", 0, 0))
  assert page.shown(anew, 5).line == "Closest to what you said"


def test_values_of_other_types_are_answered_in_words(searcher):
  page = Page(searcher)
  with pytest.raises(InputError, match="The reference is a list, expected the id"):
    page.from_id(["004"])
  with pytest.raises(InputError, match="There is no text"):
    change(3, 0.0, 0.0)
  with pytest.raises(InputError, match="There is no file"):
    page.from_upload(None, "uploaded picture")
  with pytest.raises(InputError, match="There are no words"):
    page.to_choose_from(None)


def test_a_stranger_is_told_no_folder_of_this_machine():
  error = InputError("/home/ann/photos/box/01.png cannot be read: No such file; and/or /srv/a b")
  assert public_message(error) == "01.png cannot be read: No such file; and/or a b"
  assert len(public_message(InputError("x" * 1000))) == 300


def test_sixteen_at_once_are_answered_right_and_in_batches(address, searcher):
  ids = [f"{i:03d}" for i in range(16)]
  expected = [searcher.search(id, ["red"], 5)[0].id for id in ids]

  def ask(id):
    found = post(f"{address}/gradio_api/run/search", json.dumps({"data": [id, ["red"], "", 5, 0.0, 0.0]}).encode())
    return found["data"][0][0]["id"]

  sizes = []
  rank = searcher.rank
  searcher.rank = lambda queries, *rest: sizes.append(len(queries)) or rank(queries, *rest)
  try:
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
      for _ in range(5):
        assert list(threads.map(ask, ids)) == expected
  finally:
    del searcher.rank
  assert sum(sizes) == 80
  assert max(sizes) > 1


@pytest.mark.parametrize(
  "path",
  ["file=/etc/passwd", "file=setup.py", "file%3D/etc/passwd", "proxy=http://example.com", "stream/a/b/c/playlist.m3u8"],
)
def test_no_files_are_served(address, path):
  assert status(f"{address}/gradio_api/{path}") == 404
  assert status(f"{address}/{path}") == 404


def test_large_bodies_and_those_of_unknown_length_are_refused(address):
  assert status_of_headers(address, {"Content-Length": str(MAX_BODY + 1)}) == 413
  assert status_of_headers(address, {"Transfer-Encoding": "chunked"}) == 411


@pytest.mark.parametrize(
  ("body", "message"),
  [
    ({"data": ["004", ["red"]]}, "`data` has 2 values, expected 6: reference, texts, image, k"),
    ({"data": None}, "`data` has no list, expected 6"),
    ({"data": ["nobody", [], "", 5, 0.0, 0.0]}, "No picture here has the id nobody"),
    ({"data": [{}, ["red"], "", 5, 0.0, 0.0]}, "`reference` is a dict, expected a text"),
    ({"data": [["004"], ["red"], "", 5, 0.0, 0.0]}, "`reference` is a list, expected a text"),
    ({"data": ["004", "red", "", 5, 0.0, 0.0]}, "`texts` is a str, expected a list"),
    ({"data": ["004", [3], "", 5, 0.0, 0.0]}, "`texts` has items that are no text"),
    ({"data": ["004", ["red"], "", 10**30, 0.0, 0.0]}, "no whole number"),
    ({"data": ["004", ["red"], "", -1, 0.0, 0.0]}, "k is -1, expected 1 to 100"),
    ({"data": ["004", ["red"], "", [5], 0.0, 0.0]}, "`k` is a list, expected a number"),
    ({"data": ["004", ["red"], "", 5, 1e300, 0.0]}, "A weight is 1e"),
    ({"data": ["004", ["red"], "", 5, 0.0, "x"]}, "`text_weight` is a str, expected a number"),
    ({"data": ["", ["red"], {"path": "a"}, 5, 0.0, 0.0]}, "`image` is a dict, expected a text"),
    ({"data": ["004", ["red"], "", 5, 0.0, 0.0], "batched": True}, "unknown fields: batched"),
    ({"data": ["004", ["\ud800"], "", 5, 0.0, 0.0]}, "not Unicode"),
    ({"data": ["\udce9.jpg", ["red"], "", 5, 0.0, 0.0]}, "not Unicode"),
    ([], "The request is a list"),
    (b"{", "not JSON"),
    (b"[" * 10_000, "not JSON"),
    (b'{"data": ["004", ["red"], "", 5, NaN, 0.0]}', "NaN is no number"),
    (b'{"data": ["004", ["red"], "", 5, 1e999, 0.0]}', "infinite"),
    (b"\xff\xfe", "not JSON"),
  ],
)
def test_mistakes_in_the_posted_search_are_4xx_with_a_reason(address, body, message):
  status, content = answer(address, body)
  assert 400 <= status < 500
  assert content.keys() == {"error"}
  assert message in content["error"]


NO_CALLS = [
  {"fn_index": 10**9, "data": []},
  {"fn_index": -1, "data": []},
  {"fn_index": True, "data": []},
  {"fn_index": "search", "data": []},
  {"fn_index": 0, "data": [None]},
  {"fn_index": 0, "data": {"a": 1}},
  {"fn_index": 0, "data": [None, ["red"]]},
  {"fn_index": 0, "data": [{"turns": []}, ""]},
  {"fn_index": 0, "data": [None, "\ud800"]},
  {"fn_index": 0, "data": [None, "x" * 501]},
  {"fn_index": 0, "data": [None, ""], "trigger_id": 10**6},
  {"fn_index": 0, "data": [None, ""], "session_hash": "x" * 65},
  {"fn_index": 0, "data": [None, ""], "session_hash": ["s"]},
  {"fn_index": 0, "data": [None, ""], "request": {}},
  {"fn_index": 7, "data": [None, 10**12], "event_data": {"value": "004"}},
  {"fn_index": 7, "data": [None, "24"], "event_data": {"value": "004"}},
  {"fn_index": 7, "data": [None, None], "event_data": {"value": "004"}},
  {"fn_index": 7, "data": [None, 24], "event_data": {}},
  {"fn_index": 7, "data": [None, 24], "event_data": [1]},
  {"fn_index": 7, "data": [None, 24]},
  {"fn_index": 7, "data": [None, 24], "event_data": {"value": {"a": 1}}},
]


@pytest.mark.parametrize("call", NO_CALLS)
def test_calls_that_the_page_would_not_make_are_4xx_with_a_reason(address, call):
  for path in ("/gradio_api/run/predict", "/gradio_api/queue/join"):
    status, content = answer(address, {"session_hash": "s"} | call, path)
    assert 400 <= status < 500
    assert content["error"]


def test_the_page_itself_calls_these_functions(address):
  """Those above are refused for what is wrong in them."""
  for call in (
    {"fn_index": 0, "data": [None, ""]},
    {"fn_index": 7, "data": [None, 24], "event_data": {"value": "004"}},
  ):
    assert answer(address, {"session_hash": "s"} | call, "/gradio_api/run/predict")[0] == 200


def test_work_is_refused_before_it_is_done(address):
  started = time.monotonic()
  many = b'{"data":["004",[' + b'"a",' * 2_000_000 + b'"a"],"",5,0.0,0.0]}'
  assert answer(address, many) == (400, {"error": "The request has more than 20,000 values."})
  assert "has at most 30 turns" in answer(address, {"data": ["004", ["a"] * 5000, "", 5, 0.0, 0.0]})[1]["error"]
  assert status_of_headers(address, {"Content-Length": "25000000"}, "/gradio_api/run/predict") == 413
  status, content = answer(address, {"data": ["x" * 20_000_000, ["red"], "", 5, 0.0, 0.0]})
  assert (status, len(content["error"])) == (400, 300)
  assert time.monotonic() - started < 5


def test_the_documented_ways_of_gradio_find_the_same(address):
  values = {"reference": "004", "texts": ["red"], "image": "", "k": 5, "image_weight": 0.0, "text_weight": 0.0}
  expected = answer(address, {"data": list(values.values())})[1]["data"][0]
  for path, body in (("call/search", {"data": list(values.values())}), ("call/v2/search", values)):
    event = answer(address, body, f"/gradio_api/{path}")[1]["event_id"]
    with urllib.request.urlopen(f"{address}/gradio_api/call/search/{event}", timeout=30) as response:
      assert json.loads(response.read().decode().partition("data: ")[2]) == [expected]


def test_only_the_search_can_be_called(address):
  with urllib.request.urlopen(f"{address}/gradio_api/info", timeout=30) as response:
    assert list(json.load(response)["named_endpoints"]) == ["/search"]


def test_a_name_that_is_not_utf_8_in_an_older_index_is_shown_escaped(address, searcher):
  far = searcher.from_id("000").feature
  assert searcher.rank([Query(-far, 1.0)], 1)[0][0].id == NOT_UTF_8
  status, content = answer(address, {"data": ["000", ["red"], "", 100, 0.0, 0.0]})
  assert status == 200
  (row,) = [row for row in content["data"][0] if row["id"] == "caf\\udce9.jpg"]
  assert row["caption"] == "no caption \\udcff"
  for call in (
    {"fn_index": 1, "data": [None, "caf"]},
    {"fn_index": 7, "data": [None, 100], "event_data": {"value": "000"}},
  ):
    status, content = answer(address, {"session_hash": "odd"} | call, "/gradio_api/run/predict")
    assert (status, "caf\\udce9.jpg" in json.dumps(content).replace("\\\\", "\\").replace("&#92;", "\\")) == (200, True)
  assert answer(address, {"data": ["caf\\udce9.jpg", ["red"], "", 5, 0.0, 0.0]})[0] == 400


def test_hostile_names_are_data(client):
  found = client.predict(reference=HOSTILE, texts=[f"red {HOSTILE}"], k=3, api_name="/search")
  assert len(found) == 3
