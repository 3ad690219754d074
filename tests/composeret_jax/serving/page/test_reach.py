"""Who uses the page otherwise: with the keyboard alone, on a phone, with a screen reader, without motion."""

import os
import pathlib

import pytest

from tests.fakes.slow import slow

ROOT = pathlib.Path(__file__).parents[4]
AXE = ROOT / ".venv" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
DRESS = "clothes/red dress 1.png"

FOCUSED = "document.activeElement.id || document.activeElement.className"
# Whether the focused element has an outline, itself or around it.
OUTLINED = """(() => {
  const element = document.activeElement;
  if (element.id === "words") return getComputedStyle(element.closest("form")).boxShadow !== "none";
  return getComputedStyle(element).outlineStyle !== "none";
})()"""


def tab_to(shopper, selector, most=40):
  """Presses Tab until an element has the focus, which is always to be seen."""
  for _ in range(most):
    shopper.page.keyboard.press("Tab")
    assert shopper.page.evaluate(OUTLINED), shopper.page.evaluate(FOCUSED)
    if shopper.page.evaluate("selector => document.activeElement.matches(selector)", selector):
      return
  raise AssertionError(f"{selector} cannot be reached")


def test_with_the_keyboard_alone(arrive, searcher):
  shopper = arrive()
  page = shopper.page
  page.keyboard.press("Tab")
  assert page.evaluate(FOCUSED) == "skip"
  tab_to(shopper, "#words", most=3)
  page.keyboard.type("red dress 1")
  with page.expect_response("**/v1/search"):
    page.keyboard.press("Enter")
  shopper.settle()
  page.locator("#results").focus()
  tab_to(shopper, ".tile:first-child .choose")
  with page.expect_response("**/v1/search"):
    page.keyboard.press("Enter")
  shopper.steps("Start: red dress 1")
  shopper.expect(page.locator("#words")).to_be_focused()  # the next thing to do
  page.keyboard.type("blue")
  with page.expect_response("**/v1/search"):
    page.keyboard.press("Enter")
  shopper.steps("Start: red dress 1", "“blue”")
  assert shopper.shows([result.id for result in searcher.search(DRESS, ["blue"], k=24)])
  shopper.expect(page.locator("#words")).to_be_focused()
  tab_to(shopper, ".tile:nth-child(2) .details")
  page.keyboard.press("Enter")
  page.wait_for_selector("dialog[open]")
  page.keyboard.press("Escape")
  shopper.expect(page.locator("dialog[open]")).to_have_count(0)
  shopper.expect(page.locator(".tile:nth-child(2) .details")).to_be_focused()
  page.locator("#words").focus()
  tab_to(shopper, "#undo")
  page.keyboard.press("Enter")
  shopper.steps("Start: red dress 1")
  page.locator("#words").focus()
  page.keyboard.press("Tab")
  page.keyboard.press("Enter")  # the ways to bring a picture
  with page.expect_file_chooser() as chooser:
    tab_to(shopper, ".way:not(.camera)")
    page.keyboard.press("Enter")
  assert chooser.value.is_multiple() is False


def test_on_a_phone_pictures_come_first_and_the_bar_stays(arrive):
  shopper = arrive(phone=True)
  page = shopper.page
  assert page.locator(".tile").first.bounding_box()["y"] < 200
  shopper.say("red dress 1")
  shopper.choose(DRESS)
  shopper.say("blue")
  assert page.locator(".tile").first.bounding_box()["y"] < 260
  page.evaluate("scrollTo(0, 1500)")
  box = page.locator("#bar").bounding_box()
  assert 0 <= box["y"] < 40
  assert page.evaluate("document.documentElement.scrollWidth") == 390
  assert page.locator("#camera").get_attribute("capture") == "environment"
  page.evaluate("scrollTo(0, 0)")
  page.locator(".details").first.tap()
  page.wait_for_selector("dialog[open]")
  assert small_targets(page) == []
  page.locator("#detail-start").tap()
  shopper.expect(page.locator("dialog[open]")).to_have_count(0)


def small_targets(page):
  """What can be tapped and is less than 44 pixels wide or high."""
  return page.evaluate("""[...document.querySelectorAll("button, a[href], input:not([type=file]), label.chip")]
    .filter((element) => element.checkVisibility() && !element.matches(".skip, .brand, .chip input"))
    .map((element) => [element.outerHTML.slice(0, 80), element.getBoundingClientRect()])
    .filter(([, {width, height}]) => width && (width < 44 || height < 44)).map(([html]) => html)""")


def test_without_motion_where_it_is_not_wanted(arrive):
  moving = "document.getAnimations().filter((one) => one.playState === 'running').length"
  held = []
  for motion, least in (("reduce", 0), ("no-preference", 1)):
    shopper = arrive(reduced_motion=motion)
    shopper.page.route("**/v1/search", lambda route: held.append(route))
    shopper.page.fill("#words", "red")
    shopper.page.press("#words", "Enter")
    shopper.expect(shopper.page.locator("#progress")).to_be_visible()
    assert min(1, shopper.page.evaluate(moving)) == least
    held.pop().continue_()
    shopper.settle()


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: make axe")
@pytest.mark.parametrize(
  "phone, colours", [(False, "light"), slow(False, "dark"), slow(True, "light"), slow(True, "dark")]
)
def test_axe_finds_nothing(arrive, phone, colours):
  shopper = arrive(phone=phone, color_scheme=colours)
  page = shopper.page
  page.evaluate(AXE.read_text())
  assert faults(page) == [], "pictures to start from"
  shopper.say("red drss")
  assert faults(page) == [], "words and a note"
  shopper.choose(shopper.shown()[0])
  shopper.say("blue")
  page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": b"none"})
  page.get_by_role("alert").wait_for()
  assert faults(page) == [], "steps and a message"
  page.click("#add")
  assert faults(page) == [], "ways to bring a picture"
  page.keyboard.press("Escape")
  page.locator(".details").first.dispatch_event("click")
  page.wait_for_selector("dialog[open]")
  assert faults(page) == [], "a picture"
  if os.environ.get("COMPOSERET_SCREENSHOTS"):
    page.screenshot(path=f"{os.environ['COMPOSERET_SCREENSHOTS']}/{colours}{phone}.png")


def faults(page):
  """What axe finds, by the rules of WCAG 2.2 up to AA and by good practice; texts whose ground it cannot tell aside."""
  tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
  found = page.evaluate("tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", tags)
  assert "target-size" in {rule["id"] for kind in ("passes", "violations") for rule in found[kind]}
  return [(fault["id"], fault["impact"], fault["nodes"][0]["html"]) for fault in found["violations"]]
