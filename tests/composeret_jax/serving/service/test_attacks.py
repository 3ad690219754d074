"""The API as strangers meet it who want to break it, or mistype."""

import http.client
import itertools
import json
import re
import time
from urllib.parse import quote

import pytest

from composeret_jax.serving.service.app import build_app
from composeret_jax.serving.service.limits.guard import MAX_BODY
from composeret_jax.serving.service.retrieval import public_message
from data_pipelines.input_error import InputError
from tests.fakes.served import ask, encoded_image, served, upload


def status_of_headers(address, headers, path="/v1/uploads"):
  """The answer to a request of which no more is sent."""
  connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
  connection.putrequest("POST", path)
  for name, value in headers.items():
    connection.putheader(name, value)
  connection.endheaders()
  answer = connection.getresponse().status
  connection.close()
  return answer


@pytest.mark.parametrize(
  ("body", "message"),
  [
    ({}, "there is nothing to search for"),
    ({"image": "nobody"}, "No picture here has the id nobody"),
    ({"image": "004", "texts": [" "]}, "a text is blank"),
    ({"image": "004", "texts": ["赤い"]}, "no word of '赤い' is known to the model"),
    ({"image": "004", "texts": ["red", "and so on"]}, "no word of 'and so on' is known to the model: and, so, on"),
    ({"image": "004", "texts": ["x" * 501]}, "texts.0: String should have at most 500 characters"),
    ({"image": "004", "texts": ["red"] * 9}, "texts: List should have at most 8 items"),
    ({"image": "004", "texts": "red"}, "texts: Input should be a valid list"),
    ({"image": "004", "texts": [3]}, "texts.0: Input should be a valid string"),
    ({"image": {}}, "image: Input should be a valid string"),
    ({"image": ["004"]}, "image: Input should be a valid string"),
    ({"image": ""}, "image: String should have at least 1 character"),
    ({"image": "a" * 5000}, "image: String should have at most 4096"),
    ({"image": "004", "upload": "0" * 32}, "`image` and `upload` are both given"),
    ({"upload": "/etc/passwd"}, "upload: String should match pattern"),
    ({"upload": {"path": "/etc/passwd"}}, "upload: Input should be a valid string"),
    ({"upload": "0" * 32}, "The upload has expired"),
    ({"image": "004", "limit": 0}, "limit: Input should be greater than or equal to 1"),
    ({"image": "004", "limit": 101}, "limit: Input should be less than or equal to 100"),
    ({"image": "004", "limit": 10**30}, "limit: "),
    ({"image": "004", "limit": True}, "limit: Input should be a valid integer"),
    ({"image": "004", "offset": -1}, "offset: Input should be greater than or equal to 0"),
    ({"image": "004", "offset": 1000}, "offset: Input should be less than 1000"),
    ({"image": "004", "text_weight": "x"}, "text_weight: Input should be a valid number"),
    ({"image": "004", "text_weight": 1e300}, "text_weight: Input should be less than or equal to 100"),
    ({"image": "004", "batched": True}, "batched: Extra inputs are not permitted"),
    ({"image": "004", "texts": ["\ud800"]}, "unicode"),
    ({"image": "\udce9.jpg"}, "unicode"),
    ({"texts": ["hat"], "filters": {"a": {"b": 1}}}, "filters"),
    ([], "Input should be a valid dictionary"),
    (b"{", "JSON"),
    (b"[" * 1_500, "JSON"),
    (b"[" * 10_000, "The request has more than 2,000 values."),
    (b'{"image": "004", "text_weight": NaN}', "text_weight: Input should be a finite number"),
    (b'{"image": "004", "text_weight": 1e999}', "text_weight: Input should be a finite number"),
    (b"\xff\xfe", "JSON"),
    (b"", "Field required"),
  ],
)
def test_mistakes_are_4xx_with_a_reason(address, body, message):
  for path in ("/v1/search", "/v1/compose"):
    status, headers, content = ask(address, path, body)
    if path == "/v1/compose" and message.partition(":")[0] in ("limit", "offset", "text_weight", "batched", "filters"):
      message = "Extra inputs are not permitted"
    assert 400 <= status < 500
    assert content.keys() == {"error", "field"}
    assert message in content["error"]
    assert len(content["error"]) <= 300
    assert "Traceback" not in json.dumps(content)
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
  "path",
  [
    "/v1/images//etc/passwd",
    "/v1/images/../../etc/passwd",
    "/v1/images/%2e%2e/%2e%2e/etc/passwd",
    "/v1/images//etc/passwd/thumbnail",
    "/v1/images/%00",
    "/v1/images/" + "a" * 4000,
    "/v1/images/%ed%a0%80",
    "/v1/items/\\udce8.jpg",
    "/v1/items/file%3A%2F%2F%2Fetc%2Fpasswd",
    "/v1/uploads/..%2f..%2fetc%2fpasswd/thumbnail",
    "/v1/uploads/" + "0" * 32 + "/thumbnail",
    "/v1/uploads",
    "/v1",
    "/docs",
    "/redoc",
    "/file=/etc/passwd",
    "/gradio_api/file=/etc/passwd",
    "/v1/gallery?limit=0",
    "/v1/gallery?limit=1&limit=x",
    "/v1/gallery?offset=-1",
    "/v1/gallery?offset=1e9",
    "/v1/gallery?" + "x" * 9000,
    "/v1/suggestions?upload=../x",
    "/v1/suggestions?limit=1000",
  ],
)
def test_no_path_leads_to_a_file_or_a_failure(address, path):
  status, _, content = ask(address, path)
  assert 400 <= status < 500
  assert content["error"]
  assert "root:" not in json.dumps(content)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_refused(address, method):
  assert ask(address, "/v1/search", b"", method)[0] == 405


@pytest.mark.parametrize(
  "headers",
  [
    {"X-Forwarded-For": "9" * 60_000},
    {"X-Forwarded-For": "127.0.0.1, ::1", "X-Forwarded-Proto": "javascript", "X-Forwarded-Host": "evil.example"},
    {"Cookie": "a=b;" * 8_000},
    {"Cookie": 'composeret_key="\\"; \xff'},
    {"If-None-Match": '"x",' * 9_000},
    {"Range": "bytes=0-1,2-3"},
    {"X-API-Key": "\xff\xfe"},
    {"Authorization": "Bearer " + "a" * 50_000},
    {"Accept-Encoding": "gzip;q=-1"},
    {f"X-{number}": "a" for number in range(2_000)},
  ],
  ids=lambda headers: next(iter(headers)),
)
def test_odd_headers_change_nothing(address, headers):
  plain = ask(address, "/v1/search", {"image": "004", "limit": 3})
  status, own, content = ask(address, "/v1/search", {"image": "004", "limit": 3}, headers=headers)
  assert (status, content) == (200, plain[2])
  assert own.keys() == plain[1].keys() and "evil" not in str(own) + str(content)


def test_large_bodies_and_those_of_unknown_length_are_refused(address):
  assert status_of_headers(address, {"Content-Length": str(MAX_BODY + 1)}) == 413
  assert status_of_headers(address, {"Content-Length": "70000"}, "/v1/search") == 413
  assert status_of_headers(address, {"Transfer-Encoding": "chunked"}) == 411
  assert status_of_headers(address, {"Content-Length": "-1"}) in (400, 411)


def test_work_is_refused_before_it_is_done(address):
  started = time.monotonic()
  many = b'{"image":"004","texts":[' + b'"a",' * 6_000_000 + b'"a"]}'
  with pytest.raises(OSError):  # the answer comes, and the connection ends, before all is sent
    status, _, content = ask(address, "/v1/search", many)
    assert status == 413
    raise OSError
  status, _, content = ask(address, "/v1/search", {"image": "004", "texts": ["a"] * 5000})
  assert (status, content["error"]) == (400, "The request has more than 2,000 values.")
  assert time.monotonic() - started < 5


@pytest.mark.parametrize("content", [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_image_is_400(address, content):
  status, answer = upload(address, content)
  assert (status, answer["error"]) == (400, "This file is no image that can be read. BMP, GIF, JPEG, PNG, WEBP can.")


def test_only_a_form_with_parts_is_parsed_as_an_upload(address, monkeypatch):
  # Millions of empty fields would keep the event loop, and with it everybody, busy for seconds.
  monkeypatch.setattr("starlette.requests.FormParser", lambda *_, **__: pytest.fail("parsed"))
  for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/mixed; boundary=b"):
    status, _, answer = ask(address, "/v1/uploads", b"&" * 100_000, headers={"Content-Type": kind})
    assert status == 400 and "multipart/form-data" in answer["error"]


def test_too_many_requests_at_once_are_told_so(searcher, uploads):
  from composeret_jax.serving.service.settings import Settings

  with served(build_app(searcher, Settings(max_waiting=0), uploads=uploads)) as address:
    status, headers, content = ask(address, "/v1/health")
    assert (status, headers["retry-after"]) == (503, "2")
    assert "Too many people" in content["error"]


def test_a_failure_of_the_server_shows_no_traceback(searcher, uploads, monkeypatch):
  monkeypatch.setattr(searcher.index, "browse", lambda *_: 1 / 0, raising=False)
  with served(build_app(searcher, uploads=uploads)) as address:
    status, _, content = ask(address, "/v1/gallery")
    assert (status, content) == (500, {"error": "The server could not answer. Its log says why.", "field": None})


def test_a_full_disk_is_507(searcher, uploads, monkeypatch):
  def full(_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(uploads, "keep", full)
  with served(build_app(searcher, uploads=uploads)) as address:
    status, content = upload(address, encoded_image(seed=1))
    assert (status, content["error"]) == (507, "The server has no room for the file: No space left on device.")


def test_a_stranger_is_told_no_folder_of_this_machine():
  error = InputError("/home/ann/photos/box/01.png cannot be read: No such file; and/or /srv/a b")
  assert public_message(error) == "01.png cannot be read: No such file; and/or a b"
  assert len(public_message(InputError("x" * 1000))) == 300


def test_no_form_of_a_path_opens_a_file_at_any_address(address, tmp_path):
  """Forms of paths stand in every place of an address, in its options, and in every field of a body."""
  (tmp_path / "secret.png").write_bytes(encoded_image(seed=5))
  path = str(tmp_path / "secret.png")
  forms = [path, f"file://{path}", f"../../../../..{path}", f"/v1/images{path}", "/etc/passwd", "/proc/self/environ"]
  document = ask(address, "/v1/openapi.json")[2]
  asked = 0
  for pattern, methods in document["paths"].items():
    for method, form in itertools.product(methods, forms):
      for url in (re.sub(r"\{\w+\}", quote(form), pattern), f"{pattern}?image={quote(form)}&upload={quote(form)}"):
        fields = ("image", "upload", "query", "result", "texts")
        bodies = [{name: value} for name in fields for value in (form, [form], {"path": form})]
        for body in bodies if method == "post" else [None]:
          status, _, content = ask(address, url, body, method.upper())
          asked += 1
          assert status < 500, (method, url, content)
          assert b"root:" not in bytes(str(content), "utf-8") and "PATH=" not in str(content)
          assert not (isinstance(content, bytes) and content.startswith(b"\x89PNG"))
  assert asked > 300
