"""The page's own addresses: what they answer, what their answers let a browser do, and what they refuse."""

import re
from urllib.parse import quote

from fastapi.testclient import TestClient
import pytest

from composeret_jax.serving.page.routes import page_routes
from composeret_jax.serving.service.app import build_app
from composeret_jax.serving.service.settings import Settings

ICON = '<svg xmlns="http://www.w3.org/2000/svg"/>'


@pytest.fixture(scope="module")
def client(searcher, uploads):
  return TestClient(build_app(searcher, Settings(), page_routes, uploads))


@pytest.fixture(scope="module")
def shop(searcher, uploads, tmp_path_factory):
  """With a prefix, a name, a logo and a colour of its own."""
  logo = tmp_path_factory.mktemp("logo") / "logo.svg"
  logo.write_text(ICON)
  title = 'Marble & "Co." <script>'
  settings = Settings(url_prefix="/shop", page_title=title, page_logo=logo, page_accent="#c2185b")
  return TestClient(build_app(searcher, settings, page_routes, uploads))


def files(client, path="/"):
  """The addresses of all files that the page names."""
  return re.findall(r'(?:href|src)="(page/[^"]+)"', client.get(path).text)


def test_nothing_from_elsewhere_and_nothing_inline_runs(client):
  for path in ["/", *(f"/{name}" for name in files(client))]:
    policy = client.get(path).headers["content-security-policy"]
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    assert policy.startswith("default-src 'none'") and "frame-ancestors 'none'" in policy
    assert client.get(path).headers["x-content-type-options"] == "nosniff"
  page = client.get("/").text
  assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", page)
  assert re.findall(r"https?://[^\s\"]+", page) == []


def test_files_are_kept_for_ever_by_their_content_and_the_page_is_not(client, shop):
  assert client.get("/").headers["cache-control"] == "no-cache"
  named = files(client)
  assert {name.rpartition("/")[2] for name in named} >= {"main.js", "page.css", "brand.css", "favicon.svg"}
  for name in named:
    answer = client.get(f"/{name}")
    assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-encoding"] == "gzip" and answer.headers["vary"] == "accept-encoding"
    plain = client.get(f"/{name}", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.content == answer.content
    assert client.head(f"/{name}").status_code == 200
  assert set(named).isdisjoint(files(shop, "/shop/"))  # another colour, other addresses


def test_a_shop_has_its_own_name_logo_and_colour(shop):
  page = shop.get("/shop/").text
  assert '<base href="/shop/">' in page
  assert "<title>Marble &amp; &quot;Co.&quot; &lt;script&gt;</title>" in page
  assert '<img src="v1/page/logo" alt="">' in page and '<link rel="icon" href="v1/page/logo">' in page
  assert shop.get("/shop/v1/page/logo").text == ICON
  brand = next(name for name in files(shop, "/shop/") if name.endswith("brand.css"))
  assert "--accent: #c2185b;" in shop.get(f"/shop/{brand}").text


def test_a_link_is_previewed_by_its_picture(shop, client):
  hostile = 'a/"><script>alert(1)</script>.png'
  for field in ("image", "item"):
    page = shop.get(f"/shop/?{field}={quote(hostile)}").text
    preview = f"http://testserver/shop/v1/images/{quote(hostile, safe='')}/thumbnail"
    assert f'<meta property="og:image" content="{preview}">' in page
    assert "<script>alert" not in page
  assert 'content="http://testserver/shop/v1/page/logo"' in shop.get("/shop/").text
  assert "og:image" not in client.get("/").text
  hostile_host = client.get("/?image=a.png", headers={"host": '"><script>alert(1)</script>'})
  assert "<script>alert" not in hostile_host.text


ATTACKS = [
  "../routes.py",
  "..%2Froutes.py",
  "%2e%2e/%2e%2e/routes.py",
  "....//routes.py",
  "..\\routes.py",
  "%5c..%5croutes.py",
  "/etc/passwd",
  "%2Fetc%2Fpasswd",
  "//etc/passwd",
  "file:///etc/passwd",
  "/proc/self/environ",
  "/dev/zero",
  "index.html",
  "__pycache__",
  "main.js%00.css",
  "main.js?../../routes.py%00",
  "MAIN.JS",
  ".",
  "",
  "%c0%ae%c0%ae/routes.py",
  "a" * 5000,
  "\udce9.js",
]


@pytest.mark.parametrize("path", ATTACKS)
def test_no_other_file_is_served(client, path):
  version = files(client)[0].split("/")[1]
  path = path.encode("utf-8", "surrogateescape").decode("latin-1")
  for folder in (f"/page/{version}/", "/page/", "/page/0/", "/static/", "/"):
    if folder == "/" and path in ("", ".") or path.startswith("main.js?") and folder.count("/") == 3:
      continue  # the page itself, and the file itself
    answer = client.get(folder + path)
    assert answer.status_code in (404, 405) and len(answer.content) < 300, (folder, answer.text[:200])
    assert answer.json()["error"]


def test_no_address_of_the_page_takes_anything(client):
  for path in ["/", *(f"/{name}" for name in files(client))]:
    for method in ("post", "put", "delete", "patch"):
      assert getattr(client, method)(path).status_code == 405
