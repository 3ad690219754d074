"""Searches by words, by a picture and by both, at a desktop."""

import json

import pytest

from tests.composeret_jax.serving.page.conftest import NAMES
from tests.fakes.served import HOSTILE

DRESS, HAT = "clothes/red dress 1.png", "bags/blue hat 2.png"


def found(searcher, reference, *texts, k=24):
  return [result.id for result in searcher.search(reference, texts, k=k)]


def test_words_find_captions_and_stay_in_the_bar(shopper):
  gallery = shopper.shown()
  assert len(gallery) >= 24
  shopper.say("red hat")
  assert set(shopper.shown()[:10]) == {
    f"{folder}/red hat {number}.png" for number in range(10) for folder in ["clothes" if number % 2 else "bags"]
  }
  assert shopper.asked() == {"text": ["red hat"]}
  assert shopper.page.input_value("#words") == "red hat"
  shopper.expect(shopper.page.locator("#status")).to_contain_text("Best matches. ")
  shopper.say("blue dress 3")
  assert shopper.asked() == {"text": ["blue dress 3"]}  # other words, not more words
  assert shopper.shown()[0] == "clothes/blue dress 3.png"


def test_a_mistyped_word_keeps_pictures_and_offers_the_nearest(shopper):
  shopper.say("red drss")
  assert len(shopper.shown()) >= 24
  shopper.expect(shopper.page.locator("#note")).to_contain_text("No caption has “drss”")
  with shopper.page.expect_response("**/v1/search"):
    shopper.page.click("#note button")
  shopper.settle()
  assert shopper.asked() == {"text": ["red dress"]}
  assert all(id.split("/")[1].startswith("red dress") for id in shopper.shown()[:10])


def test_words_that_nobody_knows_are_no_best_match(shopper):
  shopper.say("xqzt")
  shopper.expect(shopper.page.locator("#heading")).to_have_text("No match: other pictures")
  assert len(shopper.shown()) >= 24 and shopper.page.locator(".meter:visible").count() == 0
  shopper.say("red hat")
  shopper.expect(shopper.page.locator("#heading")).to_have_text("Best matches")
  assert shopper.page.locator(".meter:visible").count() >= 24


def test_choosing_and_composing_twice_then_undoing(shopper, searcher):
  shopper.say("red dress 1")
  shopper.choose(DRESS)
  shopper.steps("Start: red dress 1")
  assert shopper.page.input_value("#words") == ""
  assert shopper.shows(found(searcher, DRESS))
  shopper.say("blue")
  shopper.say("striped")
  shopper.steps("Start: red dress 1", "“blue”", "“striped”")
  assert shopper.asked() == {"image": [DRESS], "text": ["blue", "striped"]}
  assert shopper.shows(found(searcher, DRESS, "blue", "striped"))
  assert shopper.shown() != found(searcher, DRESS, "blue")

  shopper.page.click("#undo")
  shopper.steps("Start: red dress 1", "“blue”")
  assert shopper.shows(found(searcher, DRESS, "blue"))
  shopper.page.go_back()
  shopper.steps("Start: red dress 1")
  assert shopper.shows(found(searcher, DRESS))
  shopper.page.go_forward()
  shopper.steps("Start: red dress 1", "“blue”")
  assert shopper.shows(found(searcher, DRESS, "blue"))
  shopper.page.click("#over")
  shopper.expect(shopper.page.locator("#talk")).to_be_hidden()
  assert shopper.asked() == {}


def test_any_step_can_be_taken_back(shopper, searcher):
  shopper.say("red dress 1")
  shopper.choose(DRESS)
  shopper.say("blue")
  shopper.say("striped")
  shopper.page.get_by_role("button", name="Take back: “blue”").click()
  shopper.steps("Start: red dress 1", "“striped”")
  assert shopper.shows(found(searcher, DRESS, "striped"))
  shopper.page.get_by_role("button", name="Take back: Start").click()
  shopper.expect(shopper.page.locator("#heading")).to_have_text("Pictures to start from")


def test_a_reload_and_a_link_keep_the_search(shopper, arrive, searcher):
  shopper.say("red dress 1")
  shopper.choose(DRESS)
  shopper.say("blue")
  expected = found(searcher, DRESS, "blue")
  shopper.page.reload()
  shopper.steps("Start: red dress 1", "“blue”")
  assert shopper.shows(expected)
  shopper.page.click("#undo")  # what was done before the reload can be undone after it
  shopper.steps("Start: red dress 1")
  shopper.page.go_forward()
  shopper.steps("Start: red dress 1", "“blue”")
  other = arrive(shopper.page.url.partition("/shop/")[2])
  other.steps("Start: red dress 1", "“blue”")
  assert other.shows(expected)
  other.page.click("#undo")  # with nothing to go back to
  other.steps("Start: red dress 1")


def test_texts_that_fit_the_picture_are_offered(shopper, searcher):
  texts = [{"text": "blue"}, {"text": "striped"}]
  shopper.page.route("**/v1/suggestions*", lambda route: route.fulfill(json={"suggestions": texts}))
  chips = shopper.page.locator("#suggestions button")
  shopper.say("red dress 1")
  shopper.expect(chips).to_have_count(0)  # there is no picture that they would fit
  shopper.choose(DRESS)
  shopper.expect(chips).to_have_text(["blue", "striped"])
  with shopper.page.expect_response("**/v1/search"):
    chips.nth(1).click()
  shopper.steps("Start: red dress 1", "“striped”")
  assert shopper.shows(found(searcher, DRESS, "striped"))
  shopper.expect(chips).to_have_text(["blue"])
  shopper.page.click("#over")
  shopper.expect(chips).to_have_count(0)


def test_a_result_becomes_the_new_start(shopper, searcher, feedback):
  shopper.say("red dress 1")
  shopper.choose(DRESS)
  shopper.say("blue")
  second = shopper.shown()[2]
  with shopper.page.expect_response("**/v1/feedback"):
    shopper.choose(second)
  shopper.steps(f"Start: {second.split('/')[1].removesuffix('.png')}")
  assert shopper.asked() == {"image": [second]}
  assert shopper.shows(found(searcher, second))
  row = json.loads(feedback.read_text().splitlines()[-1])
  assert (row["reference"], row["text"], row["target"]) == (DRESS, "blue", second)
  shopper.page.click("#undo")
  shopper.steps("Start: red dress 1", "“blue”")


def test_a_result_can_be_rated(shopper, feedback):
  shopper.say("red dress 1")
  shopper.open(shopper.shown()[1])
  shopper.expect(shopper.page.locator("#rate")).to_be_hidden()  # words alone teach nothing
  shopper.page.keyboard.press("Escape")
  shopper.choose(DRESS)
  shopper.say("striped")
  right = shopper.shown()[1]
  shopper.open(right)
  with shopper.page.expect_response("**/v1/feedback"):
    shopper.page.get_by_role("button", name="Yes").click()
  shopper.expect(shopper.page.get_by_text("Thank you.")).to_be_visible()
  shopper.expect(shopper.page.get_by_role("button", name="Yes")).to_have_attribute("aria-pressed", "true")
  row = json.loads(feedback.read_text().splitlines()[-1])
  assert (row["reference"], row["text"], row["target"]) == (DRESS, "striped", right)


def test_scrolling_shows_more_and_ends(shopper, searcher):
  shopper.say("red dress 1")
  shopper.choose(DRESS)
  for _ in range(6):
    shopper.page.mouse.wheel(0, 5000)
    shopper.page.wait_for_timeout(100)
    shopper.settle()
  everything = found(searcher, DRESS, k=100)
  assert len(everything) == 3 * len(NAMES)
  assert shopper.shows(everything)
  shopper.expect(shopper.page.locator("#more")).to_be_hidden()


def test_a_picture_opens_large(shopper, searcher):
  shopper.say("red hat")
  shown = shopper.shown()
  shopper.open(shown[1])
  name = shown[1].split("/")[1].removesuffix(".png")
  shopper.expect(shopper.page.locator("#detail-caption")).to_have_text(name)
  assert shopper.asked() == {"text": ["red hat"], "item": [shown[1]]}
  assert shopper.page.eval_on_selector("#detail-image", "image => image.decode().then(() => image.naturalWidth)") == 10
  shopper.page.go_back()
  shopper.expect(shopper.page.locator("dialog[open]")).to_have_count(0)
  assert shopper.shown()[:10] == shown[:10]
  shopper.open(shown[1])
  shopper.page.click("#detail-close")
  shopper.expect(shopper.page.locator("dialog[open]")).to_have_count(0)
  shopper.open(shown[1])
  with shopper.page.expect_response("**/v1/search"):
    shopper.page.click("#detail-start")
  shopper.expect(shopper.page.locator("dialog[open]")).to_have_count(0)
  assert shopper.shows(found(searcher, shown[1]))
  shopper.page.click("#undo")
  shopper.expect(shopper.page.locator("#words")).to_have_value("red hat")
  assert shopper.asked() == {"text": ["red hat"]}


def test_results_stay_when_a_search_fails_and_the_message_goes(shopper):
  shopper.say("red dress 1")
  before = shopper.shown()
  shopper.page.route("**/v1/search", lambda route: route.fulfill(status=503, json={"error": "Many people search."}))
  shopper.say("blue")
  shopper.expect(shopper.page.get_by_role("alert")).to_have_text("Many people search.")
  assert shopper.shown()[:24] == before[:24]
  shopper.page.unroute("**/v1/search")
  shopper.say("striped")
  shopper.expect(shopper.page.locator("#trouble")).to_be_hidden()
  assert shopper.shown()[:24] != before[:24]


def test_a_slow_answer_does_not_replace_a_newer_one(shopper):
  held = []
  shopper.page.route("**/v1/search", lambda route: held.append(route) if not held else route.continue_())
  shopper.page.fill("#words", "red dress 1")
  shopper.page.press("#words", "Enter")
  shopper.expect(shopper.page.locator("#progress")).to_be_visible()
  shopper.say("blue hat 2")
  held[0].abort()
  shopper.page.wait_for_timeout(100)
  assert shopper.shown()[0] == HAT
  shopper.expect(shopper.page.locator("#trouble")).to_be_hidden()


def test_two_people_do_not_meet(arrive, searcher):
  one, two = arrive(), arrive()
  for person, id in ((one, DRESS), (two, HAT)):
    person.say(id.split("/")[1].removesuffix(".png"))
    person.choose(id)
  one.say("blue")
  two.say("striped")
  one.steps("Start: red dress 1", "“blue”")
  two.steps("Start: blue hat 2", "“striped”")
  assert one.shows(found(searcher, DRESS, "blue"))
  assert two.shows(found(searcher, HAT, "striped"))


@pytest.mark.parametrize("path", ["?image=nowhere.png", "?upload=" + "0" * 32, "?item=nowhere.png"])
def test_a_link_to_what_is_gone_says_so(arrive, path, browser, address):
  page = browser.new_context().new_page()
  page.goto(address + path)
  page.get_by_role("alert").filter(has_text="No picture" if "nowhere" in path else "expired").wait_for()
  page.context.close()


def test_hostile_names_and_texts_are_shown_as_they_are(shopper):
  shopper.say("onerror")
  assert shopper.shown()[0] == f"bags/{HOSTILE}.png"
  assert shopper.page.locator(".caption").first.inner_text() == HOSTILE
  shopper.choose(f"bags/{HOSTILE}.png")
  shopper.say(f"red {HOSTILE}")
  shopper.steps(f"Start: {HOSTILE}", f"“red {HOSTILE}”")
  shopper.page.reload()
  shopper.steps(f"Start: {HOSTILE}", f"“red {HOSTILE}”")
  shopper.expect(shopper.page).to_have_title(f"red {HOSTILE} · Marble & Co.")
