"""A service that needs an API key, by the page."""

from composeret_jax.serving.page.routes import page_routes
from composeret_jax.serving.service.app import build_app
from composeret_jax.serving.service.settings import Settings
from tests.fakes.served import served

KEY = "0123456789abcdef"


def test_the_page_asks_for_a_key_once(browser, searcher, uploads):
  with served(build_app(searcher, Settings(api_keys=(KEY,)), page_routes, uploads)) as address:
    page = browser.new_context().new_page()
    page.goto(f"{address}/?text=red")
    field = page.get_by_role("textbox", name="This search needs an API key")
    field.fill("a" * 16)
    field.press("Enter")
    page.get_by_text("This key is not known").wait_for()
    page.fill("#key-field", KEY)
    page.press("#key-field", "Enter")
    page.wait_for_selector(".choose")
    assert page.locator(".choose img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    assert KEY not in page.evaluate("document.cookie + JSON.stringify({...localStorage, ...sessionStorage})")
    page.reload()
    page.wait_for_selector(".choose")
    assert page.input_value("#words") == "red"
    page.context.close()
