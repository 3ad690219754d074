"""The page as a person uses it, in a real browser."""

import os
import shutil

import pytest

from composeret_jax.serving.page.markup import printable
from tests.composeret_jax.serving.page.conftest import encoded_image, HOSTILE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed: apt-get install chromium")

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
  sync_api = pytest.importorskip("playwright.sync_api")
  with sync_api.sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    yield browser
    browser.close()


@pytest.fixture
def page(browser, address):
  yield (page := open_page(browser, address))
  assert page.outside == []
  page.context.close()


def open_page(browser, address, **options):
  page = browser.new_context(**{"viewport": WIDE, **options}).new_page()
  page.set_default_timeout(20_000)
  page.outside = []
  page.on(
    "request", lambda request: None if request.url.startswith((address, "data:")) else page.outside.append(request)
  )
  page.goto(address)
  page.wait_for_selector("#images button")
  return page


def shown_ids(page):
  return page.eval_on_selector_all("#images button", "buttons => buttons.map(button => button.dataset.id)")


def turns(page):
  return [text.replace("×", "").strip() for text in page.locator("#turns .turns li").all_inner_texts()]


def wait_for_turns(page, expected):
  page.wait_for_function("num => document.querySelectorAll('#turns .turns li').length === num", arg=len(expected))
  assert turns(page) == expected


def choose(page, id):
  page.locator("#images button").nth(shown_ids(page).index(id)).click()


def say(page, text):
  page.fill("#change textarea", text)
  page.press("#change textarea", "Enter")


def found(searcher, reference, *texts):
  return [printable(result.id) for result in searcher.search(reference, texts, k=24)]


def test_a_conversation_from_choosing_to_taking_back(page, searcher):
  assert "Choose a picture" in page.inner_text("#turns")
  first = shown_ids(page)[3]
  caption = searcher.index.get([first]).entries[0].caption
  choose(page, first)
  wait_for_turns(page, [caption])
  assert shown_ids(page) == found(searcher, first)

  say(page, "red")
  wait_for_turns(page, [caption, "“red”"])
  changed = shown_ids(page)
  assert changed == found(searcher, first, "red") != found(searcher, first)
  score = page.inner_text("#images button >> nth=0 >> .score")
  assert score.split() == ["1.", f"{searcher.search(first, ['red'], 1)[0].score:.3f}"]

  second = next(id for id in changed if id.isdigit())
  choose(page, second)
  wait_for_turns(page, [caption, "“red”", searcher.index.get([second]).entries[0].caption])
  assert shown_ids(page) == found(searcher, second)

  say(page, "blue")
  page.wait_for_selector("#turns li:nth-child(4)")
  say(page, "striped")
  page.wait_for_selector("#turns li:nth-child(5)")
  assert shown_ids(page) == found(searcher, second, "blue", "striped")

  page.click("#turns li:nth-child(4) .back")
  page.wait_for_selector("#turns li:nth-child(5)", state="detached")
  assert turns(page)[3:] == ["“striped”"]
  assert shown_ids(page) == found(searcher, second, "striped")

  page.click("#turns li:nth-child(3) .back")
  page.wait_for_selector("#turns li:nth-child(4)", state="detached")
  assert shown_ids(page) == found(searcher, first, "red", "striped")

  page.click("#over")
  page.wait_for_selector("#turns .steps")
  assert shown_ids(page) == searcher.index.find("", 24)


def test_an_upload_is_a_reference_and_a_text_called_png_is_not(page, searcher, tmp_path):
  (tmp_path / "mine.png").write_bytes(encoded_image(seed=77))
  (tmp_path / "text.png").write_text("no image at all\n")
  page.set_input_files("#upload input", tmp_path / "mine.png")
  wait_for_turns(page, ["uploaded picture"])
  assert shown_ids(page) == found(searcher, encoded_image(seed=77))
  say(page, "red")
  wait_for_turns(page, ["uploaded picture", "“red”"])
  before = shown_ids(page)
  assert before == found(searcher, encoded_image(seed=77), "red")

  page.set_input_files("#upload input", tmp_path / "text.png")
  page.wait_for_selector("#trouble [role=alert]")
  assert "This file is no image that can be read" in page.inner_text("#trouble")
  assert (turns(page), shown_ids(page)) == (["uploaded picture", "“red”"], before)
  say(page, "blue")
  wait_for_turns(page, ["uploaded picture", "“red”", "“blue”"])
  assert page.locator("#trouble [role=alert]").count() == 0


def test_a_text_before_any_picture_is_told_what_is_missing_and_kept(page):
  say(page, "red")
  page.wait_for_selector("#trouble [role=alert]")
  assert "Choose or upload a picture first" in page.inner_text("#trouble")
  assert page.input_value("#change textarea") == "red"


def test_the_keyboard_is_enough(page, searcher):
  page.focus("#words textarea")
  page.keyboard.press("Tab")
  first = page.evaluate("document.activeElement.dataset.id")
  assert first == shown_ids(page)[0]
  page.keyboard.press("Enter")
  page.wait_for_selector("#turns .turns li")
  page.wait_for_function("document.activeElement === document.querySelector('#change textarea')")
  page.keyboard.type("red")
  page.keyboard.press("Enter")
  page.wait_for_selector("#turns li:nth-child(2)")
  assert shown_ids(page) == found(searcher, first, "red")
  page.wait_for_function("document.querySelector('#change textarea').value === ''")
  page.keyboard.press("Shift+Tab")
  assert page.evaluate("document.activeElement.dataset.turn") == "1"
  page.keyboard.press("Enter")
  page.wait_for_selector("#turns li:nth-child(2)", state="detached")


def test_who_has_gone_on_to_another_field_stays_there(page):
  choose(page, shown_ids(page)[0])
  page.wait_for_function("document.activeElement === document.querySelector('#change textarea')")
  slow = []
  page.route("**/predict", lambda route: slow.append(route))
  with page.expect_request("**/predict"):
    say(page, "red")
  page.focus("#words textarea")
  slow[0].continue_()
  page.wait_for_selector("#turns li:nth-child(2)")
  page.wait_for_timeout(500)  # the focus moves just after the answer is shown
  assert page.evaluate("document.activeElement === document.querySelector('#words textarea')")


def test_two_people_do_not_see_each_others_conversation(browser, address, searcher):
  people = [open_page(browser, address) for _ in range(2)]
  ids = shown_ids(people[0])[:2]
  for page, id in zip(people, ids, strict=True):
    choose(page, id)
  for page, text in zip(people, ["red", "blue"], strict=True):
    page.wait_for_selector("#turns .turns li")
    say(page, text)
  for page, id, text in zip(people, ids, ["red", "blue"], strict=True):
    page.wait_for_selector("#turns li:nth-child(2)")
    assert turns(page)[1:] == [f"“{text}”"]
    assert shown_ids(page) == found(searcher, id, text)
    page.context.close()


def test_sliders_turn_the_last_change_again(page, searcher):
  page.click("text=Advanced")  # first of all: a slider sets its number once more just after it appears
  first = shown_ids(page)[0]
  choose(page, first)
  page.wait_for_selector("#turns .turns li")
  say(page, "red")
  page.wait_for_selector("#turns li:nth-child(2)")
  weight = page.get_by_label("number input for Text alone")
  weight.fill("1")
  weight.press("Tab")
  page.wait_for_selector("#turns small")
  assert page.inner_text("#turns small") == "text +1"
  query = searcher.refine(searcher.from_id(first), "red", text_weight=1.0)
  assert shown_ids(page) == [result.id for result in searcher.rank([query], 24)[0]]


def test_pictures_are_found_by_their_caption_and_examples_can_be_tried(page, searcher):
  page.fill("#words textarea", "HAT 01")
  page.press("#words textarea", "Enter")
  page.wait_for_function("document.querySelectorAll('#images button').length === 5")
  assert shown_ids(page) == ["010", "012", "014", "016", "018"]
  choose(page, "012")
  page.wait_for_selector("#turns .turns li")
  page.fill("#words textarea", "box 00")
  page.press("#words textarea", "Enter")
  page.wait_for_function("document.querySelectorAll('#images button').length === 5")
  assert turns(page) == ["hat"]
  page.click('.examples button:has-text("red striped")')
  wait_for_turns(page, ["hat", "“red striped”"])
  assert shown_ids(page) == found(searcher, "012", "red striped")


def test_hostile_names_and_texts_are_shown_as_they_are(page):
  page.fill("#words textarea", "onerror")
  page.press("#words textarea", "Enter")
  page.wait_for_function("document.querySelectorAll('#images button').length === 1")
  assert shown_ids(page) == [HOSTILE]
  assert page.locator("#images button").inner_text() == HOSTILE
  page.locator("#images button").click()
  wait_for_turns(page, [HOSTILE])
  say(page, f"red {HOSTILE}")  # a text without a known word is refused
  wait_for_turns(page, [HOSTILE, f"“red {HOSTILE}”"])
  assert page.title() == "Composed image search"


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_the_page_fits_the_screen(browser, address, viewport, tmp_path):
  page = open_page(browser, address, viewport=viewport, has_touch=viewport is PHONE, is_mobile=viewport is PHONE)
  choose(page, shown_ids(page)[0])
  page.wait_for_selector("#turns .turns li")
  say(page, "red")
  page.wait_for_selector("#turns li:nth-child(2)")
  assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
  sizes = page.eval_on_selector_all("#images img", "images => images.map(image => image.getBoundingClientRect().width)")
  assert min(sizes) > 90
  if viewport is PHONE:
    page.wait_for_function("scrollY > 100")  # what was found, not the way there
  folder = os.environ.get("COMPOSERET_SCREENSHOTS")
  if folder:
    page.screenshot(path=f"{folder}/{viewport['width']}.png")
  page.context.close()
