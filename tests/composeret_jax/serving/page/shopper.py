"""A person at the search page, in a real browser."""

from urllib.parse import parse_qs, urlsplit

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


class Shopper:
  """`page` is Playwright's; `troubles` are requests to other hosts, errors in scripts and what the policy blocked."""

  def __init__(self, browser, address, path="", *, phone=False, **options):
    from playwright.sync_api import expect

    self.expect = expect
    view = {"viewport": PHONE, "has_touch": True, "is_mobile": True} if phone else {"viewport": WIDE}
    self.page = browser.new_context(**view, **options).new_page()
    self.page.set_default_timeout(10_000)
    self.troubles: list[str] = []
    origin = "{0.scheme}://{0.netloc}/".format(urlsplit(address))
    self.page.on("request", lambda request: self._note("asked", request.url, not request.url.startswith(origin)))
    self.page.on("pageerror", lambda error: self._note("error", error))
    self.page.on("console", lambda line: self._note("blocked", line.text, "Content Security Policy" in line.text))
    self.page.goto(address + path)
    self.page.wait_for_selector(".choose")

  def _note(self, what, which, wrong=True):
    if wrong:
      self.troubles.append(f"{what}: {which}")

  def say(self, text):
    """Types into the bar, and waits until the answer is there."""
    with self.page.expect_response("**/v1/search"):
      self.page.fill("#words", text)
      self.page.press("#words", "Enter")
    self.settle()

  def choose(self, id):
    with self.page.expect_response("**/v1/search"):
      self.tile(id).locator(".choose").click()
    self.settle()

  def open(self, id):
    self.tile(id).hover()
    self.tile(id).locator(".details").click()
    self.page.wait_for_selector("dialog[open]")

  def settle(self):
    """Waits until no answer is on its way."""
    self.expect(self.page.locator("#grid")).to_have_attribute("aria-busy", "false")

  def tile(self, id):
    return self.page.locator(".tile").nth(self.shown().index(id))

  def shown(self):
    """The ids of the pictures, best first."""
    return self.page.eval_on_selector_all(".tile:not(.skeleton)", "tiles => tiles.map(tile => tile.result.id)")

  def shows(self, ids):
    """Whether the first pictures are these, and in this order; waits for them."""
    last = self.page.locator(".tile .caption").nth(len(ids) - 1)
    last.wait_for()
    for _ in range(50):
      if self.shown()[: len(ids)] == list(ids):
        return True
      self.page.wait_for_timeout(50)
    return False

  def steps(self, *expected):
    """Asserts that the search consists of these steps; waits for them."""
    self.expect(self.page.locator("#steps .said")).to_have_text(list(expected))

  def asked(self):
    """What the address keeps of the search."""
    return parse_qs(urlsplit(self.page.url).query)
