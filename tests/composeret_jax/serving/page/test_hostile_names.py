"""An index whose names and captions are hostile, or only odd: the page shows them as they are, and stays in shape."""

import contextlib
import dataclasses
import unittest.mock

import pytest

from composeret_jax.serving.index import create_index, Entry, open_index
from composeret_jax.serving.index.build import build
from composeret_jax.serving.index.sources import SourceImage
from composeret_jax.serving.page.routes import page_routes
from composeret_jax.serving.searcher import Searcher
from composeret_jax.serving.service.app import build_app
from composeret_jax.serving.service.settings import Settings
from tests.composeret_jax.serving.page.shopper import Shopper
from tests.fakes.fake_bundle import fake_bundle
from tests.fakes.served import encoded_image, HOSTILE, NOT_UTF_8, served

# Ids and captions.
ODD = {
  "markup": HOSTILE,
  "image": "<img src=x onerror=document.title='hacked'>",
  "script": "</span><script>document.title='hacked'</script>",
  "right to left": "\u202egnp.dilav\u202c",
  "hebrew": "שמלה אדומה",
  "long": "w" * 300,
  "long words": "word " * 60,
  "lines": "first\nsecond\r\n\tthird",
  "marks": "Z" + "\u0301\u0489" * 60,
  "nothing to see": "\u200b\u2060",
  "percent": "100%41%00%2F..%2f?#&=+",
  "controls": "a\x01\x7fb",
  "emoji": "👩‍👩‍👧‍👦" * 30,
  "object": "__proto__",
}


def images():
  for seed, (kind, text) in enumerate(ODD.items()):
    name = f"{kind}/{text}.png"
    facts = {text[:50]: seed, "constructor": text, "url": f"javascript:document.title='hacked'//{text}"}
    yield SourceImage(name, text, "", lambda seed=seed: encoded_image(seed), facts)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
  """A searcher over these, and over a name that is not UTF-8, as older indexes have."""
  bundle, folder = fake_bundle(), tmp_path_factory.mktemp("odd") / "index"
  with contextlib.closing(create_index(folder, bundle.fingerprint, bundle.feature_dim)) as index:
    build(bundle, index, list(images()))
    with unittest.mock.patch.object(Entry, "check_text"):
      row = index.get([f"markup/{HOSTILE}.png"])
      index.put(dataclasses.replace(row, entries=[Entry(NOT_UTF_8, "", "no caption \udcff")]))
  return Searcher(bundle, open_index(folder))


@pytest.fixture(scope="module")
def odd_address(odd, uploads):
  with served(build_app(odd, Settings(), page_routes, uploads)) as address:
    yield f"{address}/"


@pytest.fixture(params=["phone", "desktop"])
def visitor(browser, odd_address, request):
  shopper = Shopper(browser, odd_address, phone=request.param == "phone")
  shopper.page.on("dialog", lambda dialog: shopper.troubles.append(f"dialog: {dialog.message}"))
  yield shopper
  assert "hacked" not in shopper.page.title()
  shopper.page.context.close()
  assert shopper.troubles == []


def test_every_name_can_be_shown_chosen_opened_and_reloaded(visitor, odd):
  page = visitor.page
  assert len(visitor.shown()) == len(odd.index)
  heights = page.eval_on_selector_all(".tile", "tiles => tiles.map(tile => Math.round(tile.offsetHeight))")
  assert len(set(heights)) == 1
  for id in visitor.shown():
    assert loads(page, visitor.tile(id).locator("img"))
    fits(page)
    visitor.tile(id).locator(".details").click(force=True)
    page.wait_for_selector("dialog[open]")
    assert loads(page, page.locator("#detail-image"))
    visitor.expect(page.get_by_role("link", name="Open its page")).to_be_hidden()
    assert page.evaluate(
      "(({scrollWidth, clientWidth}) => scrollWidth <= clientWidth)(document.getElementById('detail'))"
    )
    with page.expect_response("**/v1/search"):
      page.click("#detail-start")
    visitor.settle()
    assert visitor.asked()["image"] == [id]
    page.reload()
    page.wait_for_selector(".choose")
    visitor.settle()
    assert page.locator("#steps .said").count() == 1
    fits(page)
    page.click("#over")
    visitor.expect(page.locator("#heading")).to_have_text("Pictures to start from")
    visitor.settle()


def test_filters_of_odd_values_and_columns_hold(visitor):
  page = visitor.page
  if page.locator("#filters-button").is_visible():
    page.click("#filters-button")
  within = """(chips) => chips.every((chip) => chip.lastElementChild.getBoundingClientRect().right
    <= document.getElementById("filters").getBoundingClientRect().right)"""
  assert page.locator(".chip").count() >= len(ODD) and page.eval_on_selector_all(".chip", within)
  fits(page)
  with page.expect_response("**/v1/gallery*"):
    page.locator(".chip", has_text="first").click()  # of the column "constructor"
  visitor.settle()
  assert visitor.shown() == [f"lines/{ODD['lines']}.png"]
  page.reload()
  page.wait_for_selector(".choose")
  visitor.settle()
  assert visitor.shown() == [f"lines/{ODD['lines']}.png"]


def test_a_link_with_odd_columns_breaks_nothing(visitor, odd_address):
  visitor.page.goto(f"{odd_address}?is.__proto__=a&is.toString=b&min.constructor=3&is.=c")
  visitor.expect(visitor.page.locator(".chip").first).to_be_attached()
  visitor.settle()


def loads(page, image):
  return image.evaluate("image => image.decode().then(() => image.naturalWidth > 0)")


def fits(page):
  """Nothing is wider than the window, and the bar is where it belongs."""
  assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
