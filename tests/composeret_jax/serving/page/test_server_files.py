"""No file of the server reaches whoever asks the page for it, by any function, on any route."""

import json
import os
import pathlib
import re
import time
import urllib.error
import urllib.request

from gradio.utils import get_upload_folder
import pytest

from composeret_jax.serving.page.markup import data_url
from tests.composeret_jax.serving.page.conftest import encoded_image

GRADIO = {"_type": "gradio.FileData"}


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
  """An image on the server that nobody has uploaded."""
  file = tmp_path_factory.mktemp("server") / "secret.png"
  file.write_bytes(encoded_image(seed=12345))
  return file


@pytest.fixture(scope="module")
def num_inputs(address):
  """How many inputs each function of the page takes, by its number."""
  with urllib.request.urlopen(f"{address}/config", timeout=30) as response:
    return {function["id"]: len(function["inputs"]) for function in json.load(response)["dependencies"]}


def forms_of(secret):
  """Twenty ways of naming a file of the server."""
  link = secret.with_name("link.png")
  if not link.is_symlink():
    link.symlink_to(secret)
  uploads = get_upload_folder()
  paths = [str(secret), str(link), "/proc/self/environ", "/dev/zero", "/etc/shadow", f"{uploads}/../../etc/passwd"]
  forms = [{"path": path, "meta": GRADIO} for path in paths]
  forms += [
    {"path": str(secret)},
    {"path": f"file:{secret}", "meta": GRADIO},
    {"path": f"file://{secret}", "meta": GRADIO},
    {"path": str(secret), "url": f"file://{secret}", "meta": GRADIO},
    {"path": str(secret), "orig_name": "mine.png", "size": 3, "mime_type": "image/png", "meta": GRADIO},
    {"path": str(secret), "is_stream": True, "meta": GRADIO},
    {"path": os.path.relpath(secret), "meta": GRADIO},
    {"path": [str(secret)], "meta": GRADIO},
    {"path": f"{secret}\0.png", "meta": GRADIO},
    {"path": "/" + "a" * 5000, "meta": GRADIO},
    {"files": [{"path": str(secret), "meta": GRADIO}]},
    [{"path": str(secret), "meta": GRADIO}],
    str(secret),
    f"file://{secret}",
  ]
  assert len(forms) == 20
  return forms


def ask(url, body):
  """Status and answer."""
  request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
  start = time.monotonic()
  try:
    with urllib.request.urlopen(request, timeout=30) as response:
      status, answer = response.status, response.read().decode()
  except urllib.error.HTTPError as error:
    status, answer = error.code, error.read().decode()
  assert time.monotonic() - start < 1
  return status, answer


def uploaded():
  return sorted(path for path in pathlib.Path(get_upload_folder()).rglob("*") if path.is_file())


def names_a_path(form):
  return '"path"' in json.dumps(form)


def test_every_function_by_its_number(address, searcher, secret, num_inputs):
  before = uploaded()
  known = {data_url(thumbnail) for thumbnail in searcher.index.get(list(searcher.index.entries())).thumbnails}
  for number, count in num_inputs.items():
    for form in forms_of(secret):
      body = {"fn_index": number, "data": [form] * count, "session_hash": "s", "event_data": {"value": form}}
      for route in ("run/predict", "api/predict", "queue/join"):
        status, answer = ask(f"{address}/gradio_api/{route}", body)
        assert status == 403 or not names_a_path(form), (number, route, form, answer)
        assert set(re.findall(r"data:image/jpeg;base64,[\w+/=]+", answer)) <= known
        assert "root:" not in answer
        assert "PATH=" not in answer
  assert uploaded() == before


def test_the_documented_search(address, secret):
  before = uploaded()
  for form in forms_of(secret):
    for data in ([form, ["red"], "", 5, 0.0, 0.0], ["", ["red"], form, 5, 0.0, 0.0], ["004", [form], "", 5, 0.0, 0.0]):
      for route in ("run/search", "api/search", "call/search", "call/v2/search"):
        status, answer = ask(f"{address}/gradio_api/{route}", {"data": data})
        assert status == 403 or not names_a_path(form), (route, form, answer)
  assert uploaded() == before


def test_bodies_that_are_no_json_are_refused(address):
  for content in (b"{", b"[" * 100_000, b"\xff\xfe", b"path=/etc/passwd"):
    request = urllib.request.Request(f"{address}/gradio_api/run/search", content, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
      urllib.request.urlopen(request, timeout=30)
