"""The page's own addresses: what they answer, what their answers let a browser do, and what they refuse."""

import gzip
import pathlib
import re
import runpy
from unittest import mock
from urllib.parse import quote

import pytest

from composeret_jax.serving.page.assets import FOLDER
from composeret_jax.serving.page.routes import page_routes
from composeret_jax.serving.service.app import build_app
from composeret_jax.serving.service.settings import Settings
from tests.fakes.served import ask, served

ROOT = pathlib.Path(__file__).parents[4]
ICON = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


@pytest.fixture(scope="module")
def plain(searcher, uploads):
  """The page without flags."""
  with served(build_app(searcher, Settings(), page_routes, uploads)) as address:
    yield address


@pytest.fixture(scope="module")
def shop(searcher, uploads, tmp_path_factory):
  """The page with a prefix, a name, a logo and a colour of its own."""
  logo = tmp_path_factory.mktemp("logo") / "logo.svg"
  logo.write_bytes(ICON)
  title = 'Marble & "Co." <script>'
  settings = Settings(url_prefix="/shop", page_title=title, page_logo=logo, page_accent="#c2185b")
  with served(build_app(searcher, settings, page_routes, uploads)) as address:
    yield address


def html(address, path="/", **headers):
  status, _, content = ask(address, path, headers=headers)
  assert status == 200
  return content.decode()


def files(page):
  """The addresses of all files that the page names."""
  return re.findall(r'(?:href|src)="(page/[^"]+)"', page)


def test_nothing_from_elsewhere_and_nothing_inline_runs(plain):
  page = html(plain)
  for path in ["/", *(f"/{name}" for name in files(page))]:
    _, headers, _ = ask(plain, path)
    policy = headers["content-security-policy"]
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    assert policy.startswith("default-src 'none'") and "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
  assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", page)
  assert re.findall(r"https?://[^\s\"]+", page) == []


def test_files_are_kept_for_ever_by_their_content_and_the_page_is_not(plain, shop):
  assert ask(plain, "/")[1]["cache-control"] == "no-cache"
  named = files(html(plain))
  assert {name.rpartition("/")[2] for name in named} >= {"main.js", "page.css", "brand.css", "favicon.svg"}
  for name in named:
    status, headers, content = ask(plain, f"/{name}")
    assert status == 200 and "immutable" in headers["cache-control"] and "content-encoding" not in headers
    _, headers, compressed = ask(plain, f"/{name}", headers={"Accept-Encoding": "br, gzip"})
    assert headers["content-encoding"] == "gzip" and headers["vary"] == "accept-encoding"
    assert gzip.decompress(compressed) == content
    assert ask(plain, f"/{name}", method="HEAD")[0] == 200
  assert set(named).isdisjoint(files(html(shop, "/shop/")))  # another colour, other addresses


def test_a_shop_has_its_own_name_logo_and_colour(shop):
  page = html(shop, "/shop/")
  assert '<base href="/shop/">' in page
  assert "<title>Marble &amp; &quot;Co.&quot; &lt;script&gt;</title>" in page
  assert '<img src="v1/page/logo" alt="">' in page and '<link rel="icon" href="v1/page/logo">' in page
  assert ask(shop, "/shop/v1/page/logo")[2] == ICON
  brand = next(name for name in files(page) if name.endswith("brand.css"))
  assert "--accent: #c2185b;" in html(shop, f"/shop/{brand}")


def test_a_link_is_previewed_by_its_picture(shop, plain):
  hostile = 'a/"><script>alert(1)</script>.png'
  for field in ("image", "item"):
    page = html(shop, f"/shop/?{field}={quote(hostile)}")
    preview = f"{shop}/shop/v1/images/{quote(hostile)}/thumbnail"
    assert f'<meta property="og:image" content="{preview}">' in page
    assert "<script>alert" not in page
  assert f'content="{shop}/shop/v1/page/logo"' in html(shop, "/shop/")
  assert "og:image" not in html(plain)
  assert "<script>alert" not in html(plain, "/?image=a.png", Host='"><script>alert(1)</script>')


ATTACKS = [
  "../routes.py",
  "..%2Froutes.py",
  "%2e%2e/%2e%2e/routes.py",
  "%252e%252e%252froutes.py",
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
  "main.js%00",
  "MAIN.JS",
  "logo.svg",
  "%c0%ae%c0%ae/routes.py",
  "caf%e9.js",
  "%ed%b3%a9.js",
  "a" * 5000,
]


@pytest.mark.parametrize("path", ATTACKS, ids=lambda path: path[:30])
def test_no_other_file_is_served(plain, path):
  version = files(html(plain))[0].split("/")[1]
  for folder in (f"/page/{version}/", "/page/", "/page/0/", "/static/", "/"):
    status, headers, content = ask(plain, folder + path)
    assert status == 404 and content["error"] == "There is nothing at this address.", (folder, content)
    assert "cache-control" not in headers


def test_no_address_of_the_page_takes_anything(plain):
  for path in ["/", *(f"/{name}" for name in files(html(plain)))]:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
      assert ask(plain, path, b"", method)[0] == 405


def test_an_installed_package_has_every_file():
  with mock.patch("setuptools.setup") as setup:
    runpy.run_path(str(ROOT / "setup.py"))
  patterns = setup.call_args.kwargs["package_data"]["composeret_jax.serving.page"]
  assert {path for pattern in patterns for path in FOLDER.parent.glob(pattern)} == set(FOLDER.iterdir())
