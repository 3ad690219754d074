"""No file of the server reaches whoever asks the page for it, by any function, on any route."""

import json
import os
import pathlib
import re
import time
import urllib.error
import urllib.parse
import urllib.request

from gradio.utils import get_upload_folder
import pytest
from starlette.routing import Mount

from composeret_jax.serving.page.markup import data_url
from composeret_jax.serving.page.server import build_app
from tests.composeret_jax.serving.page.conftest import encoded_image

# What a browser reads of the page.
ANSWERED = ("/", "/config", "/theme.css", "/favicon.ico", "/robots.txt", "/gradio_api/info")

GRADIO = {"_type": "gradio.FileData"}


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
  """An image on the server that nobody has uploaded."""
  file = tmp_path_factory.mktemp("server") / "secret.png"
  file.write_bytes(encoded_image(seed=12345))
  return file


@pytest.fixture(scope="module")
def right_values(address):
  """What the page itself would send to each of its functions, by its number; a file's place holds "file"."""
  with urllib.request.urlopen(f"{address}/config", timeout=30) as response:
    config = json.load(response)
  parts = {part["id"]: part for part in config["components"]}
  values = {"file": lambda _: "file", "slider": lambda part: part["props"]["value"], "textbox": lambda _: ""}
  return {
    function["id"]: [values.get(parts[id]["type"], lambda _: None)(parts[id]) for id in function["inputs"]]
    for function in config["dependencies"]
  }


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


def ask(url, body, method="POST"):
  """Status and answer, within a second; on a machine with much else to do, at the second try."""
  content = None if body is None else json.dumps(body).encode()
  request = urllib.request.Request(url, content, {"Content-Type": "application/json"}, method=method)
  for _ in range(2):
    start = time.monotonic()
    try:
      with urllib.request.urlopen(request, timeout=30) as response:
        status, answer = response.status, response.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
      status, answer = error.code, error.read().decode(errors="replace")
    if time.monotonic() - start < 1:
      return status, answer
  raise AssertionError(f"{method} {url} takes longer than a second")


def uploaded():
  return sorted(path for path in pathlib.Path(get_upload_folder()).rglob("*") if path.is_file())


def test_every_function_by_its_number(address, searcher, secret, right_values):
  before = uploaded()
  known = {data_url(thumbnail) for thumbnail in searcher.index.get(list(searcher.index.entries())).thumbnails}
  assert any("file" in values for values in right_values.values())
  for number, values in right_values.items():
    for form in forms_of(secret):
      # In the place of a file alone, where all else is right; in every place; and as what was clicked.
      in_place = [form if value == "file" else value for value in values]
      for data, event in ((in_place, {"value": "004"}), ([form] * len(values), {"value": form})):
        body = {"fn_index": number, "data": data, "session_hash": "s", "event_data": event}
        for route in ("run/predict", "api/predict", "queue/join"):
          status, answer = ask(f"{address}/gradio_api/{route}", body)
          assert 400 <= status < 500 or form not in data, (number, route, form, answer)
          assert status < 500
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
        # Gradio's own way answers with the number of an event first.
        assert 400 <= status < 500 or (status == 200 and (route.startswith("call") or isinstance(form, str))), answer
        assert "PNG" not in answer
  assert uploaded() == before


def routes_of(app):
  """Every (method, path) that the app or one that is mounted in it answers, the guard aside."""
  for route in app.routes:
    if isinstance(route, Mount):
      yield from routes_of(route.app)
    elif hasattr(route, "methods"):
      yield from ((method, route.path) for method in route.methods)
    elif hasattr(route, "original_router"):
      prefix = route.include_context.prefix
      yield from ((method, prefix + path) for method, path in routes_of(route.original_router))


def test_every_route_for_every_form(address, searcher, secret, uploads):
  """Forms of paths stand for the parts of addresses, the options behind them, and in the bodies."""
  before, routes = uploaded(), sorted(set(routes_of(build_app(searcher, uploads))))
  assert len(routes) > 80
  assert ("POST", "/gradio_api/vibe-edit") in routes
  answered = set()
  for method, path in routes:
    for form in forms_of(secret):
      text = form if isinstance(form, str) else form["path"] if isinstance(form, dict) and "path" in form else ""
      text = urllib.parse.quote(text if isinstance(text, str) else text[0])
      filled = re.sub(r"\{[^}]*\}", lambda _, text=text: text, path)
      for url in {filled, f"{path}?deep_link={text}&path={text}&upload_id={text}"}:
        if url.count("{") or len(url) > 8000 or "heartbeat" in url or "queue/data" in url:
          continue
        status, answer = ask(address + url, None if method in ("GET", "HEAD") else form, method)
        assert 200 <= status < 500, (method, url, answer)
        assert "root:" not in answer
        assert "PATH=" not in answer
        assert "PNG" not in answer
        if status < 400:
          answered.add((method, path))
  assert answered <= {(method, path) for method in ("GET", "HEAD") for path in ANSWERED}
  assert uploaded() == before


def test_bodies_that_are_no_json_are_refused(address):
  for content in (b"{", b"[" * 100_000, b"\xff\xfe", b"path=/etc/passwd"):
    request = urllib.request.Request(f"{address}/gradio_api/run/search", content, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
      urllib.request.urlopen(request, timeout=30)
