"""Filters by what the index knows of its pictures, and what cards and the large view show of that."""


def test_filters_hold_for_every_search_and_stay_in_the_address(arrive, searcher):
  shopper = arrive()
  page = shopper.page
  choose_category(shopper, "bags")
  assert shopper.asked() == {"is.category": ["bags"]}
  assert {id.split("/")[0] for id in shopper.shown()} == {"bags"}
  shopper.say("red hat")
  assert shopper.shown()[:5] and all(id.startswith("bags/red hat") for id in shopper.shown()[:5])
  page.get_by_label("price, at least").fill("30")
  with page.expect_response("**/v1/search"):
    page.get_by_label("price, at least").press("Enter")
  assert shopper.asked() == {"is.category": ["bags"], "min.price": ["30"], "text": ["red hat"]}
  shopper.settle()
  prices = page.eval_on_selector_all(".tile", "tiles => tiles.map(tile => tile.result.metadata.price)")
  assert prices and min(prices) >= 30
  first = shopper.shown()[0]
  shopper.choose(first)
  assert shopper.asked() == {"is.category": ["bags"], "min.price": ["30"], "image": [first]}
  assert shopper.shown() and all(id.startswith("bags/") for id in shopper.shown())
  page.reload()
  shopper.expect(page.get_by_role("checkbox", name="bags")).to_be_checked()
  shopper.expect(page.get_by_label("price, at least")).to_have_value("30")
  page.get_by_role("button", name="Clear filters").click()
  shopper.expect(page.get_by_role("checkbox", name="bags")).not_to_be_checked()
  assert shopper.shows([result.id for result in searcher.search(first, k=24)])
  page.go_back()
  shopper.expect(page.get_by_role("checkbox", name="bags")).to_be_checked()


def choose_category(shopper, name):
  with shopper.page.expect_response("**/v1/gallery*"):
    shopper.page.locator(".chip", has_text=name).click()
  shopper.settle()


def test_filters_that_nothing_passes_say_so(arrive):
  shopper = arrive()
  page = shopper.page
  page.get_by_label("price, at least").fill("5000")
  page.get_by_label("price, at least").press("Enter")
  shopper.expect(page.locator("#heading")).to_have_text("Nothing matches these filters")
  page.locator("#note").get_by_role("button", name="Clear the filters").click()
  shopper.expect(page.locator("#heading")).to_have_text("Pictures to start from")
  assert len(shopper.shown()) >= 24 and shopper.asked() == {}


def test_on_a_phone_filters_unfold(arrive):
  shopper = arrive(phone=True)
  page = shopper.page
  shopper.expect(page.locator("#filters")).to_be_hidden()
  button = page.locator("#filters-button")
  button.tap()
  shopper.expect(button).to_have_attribute("aria-expanded", "true")
  with page.expect_response("**/v1/gallery*"):
    page.locator(".chip", has_text="clothes").tap()
  boxes = page.eval_on_selector_all(".chip span", "chips => chips.map(chip => chip.getBoundingClientRect().height)")
  assert min(boxes) >= 44
  page.get_by_role("button", name="Show the pictures").tap()
  shopper.expect(page.locator("#filters")).to_be_hidden()
  shopper.expect(button).to_have_text("Filters (1)")
  shopper.settle()
  assert {id.split("/")[0] for id in shopper.shown()} == {"clothes"}


def test_cards_and_the_large_view_show_what_is_known(shopper):
  shopper.say("red hat 4")
  id = shopper.shown()[0]
  assert shopper.page.locator(".facts").first.inner_text() == "bags · price 14"
  shopper.open(id)
  facts = shopper.page.locator("#detail-facts div").all_inner_texts()
  assert [fact.split("\n") for fact in facts] == [["Category", "bags"], ["Price", "14"]]
  link = shopper.page.get_by_role("link", name="Open its page")
  assert link.get_attribute("href") == "https://shop.example/14"
  assert link.get_attribute("rel") == "noopener noreferrer"


def test_the_words_can_weigh_more_than_the_picture(arrive, searcher):
  shopper = arrive()
  start = "clothes/red dress 1.png"
  page = shopper.page
  shopper.expect(page.get_by_role("slider")).to_be_hidden()
  shopper.say("red dress 1")
  shopper.choose(start)
  shopper.say("blue")
  slider = page.get_by_role("slider", name="Closer to the picture, or to the words")
  assert slider.input_value() == "0"
  with page.expect_response("**/v1/search"):
    slider.press("End")
  assert shopper.asked() == {"image": [start], "text": ["blue"], "balance": ["1"]}
  query = searcher.refine(searcher.from_id(start), "blue", text_weight=1.0)
  assert shopper.shows([result.id for result in searcher.rank([query], 24)[0]])
  with page.expect_response("**/v1/search"):
    slider.press("Home")
  query = searcher.refine(searcher.from_id(start), "blue", image_weight=1.0)
  assert shopper.shows([result.id for result in searcher.rank([query], 24)[0]])
