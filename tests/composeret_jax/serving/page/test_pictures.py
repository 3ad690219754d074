"""Pictures of a person's own: chosen, pasted, dropped, refused, forgotten by the server."""

import io

import numpy as np
from PIL import Image
import pytest

from composeret_jax.serving.page.routes import page_routes
from composeret_jax.serving.searcher import Searcher
from composeret_jax.serving.service.app import build_app
from tests.composeret_jax.serving.page.shopper import Shopper
from tests.fakes.fake_bundle import fake_bundle
from tests.fakes.served import encoded_image, served

# Gives a file to the page, as pasting and dropping do.
PASTE = """([name, type, bytes]) => {
  const clipboardData = new DataTransfer();
  clipboardData.items.add(new File([new Uint8Array(bytes)], name, {type}));
  dispatchEvent(new ClipboardEvent("paste", {clipboardData, cancelable: true}));
}"""
DROP = """([name, type, bytes]) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([new Uint8Array(bytes)], name, {type}));
  for (const kind of ["dragover", "drop"]) dispatchEvent(new DragEvent(kind, {dataTransfer, cancelable: true}));
}"""

# Keeps the pictures that the page sends in `sent`.
WATCH = """() => {
  const ask = fetch;
  window.sent = [];
  window.fetch = (path, options) => {
    if (options?.body instanceof FormData) sent.push(options.body.get("file"));
    return ask(path, options);
  };
}"""
SIZE = """async () => {
  const {width, height} = await createImageBitmap(sent[0]);
  return [sent[0].type, width, height];
}"""


def file(content, name="mine.png", kind="image/png"):
  return {"name": name, "mimeType": kind, "buffer": content}


@pytest.mark.parametrize("way", ["file", "paste", "drop"])
def test_a_picture_of_ones_own_starts_a_search(shopper, searcher, way):
  content = encoded_image(seed=7)
  if way == "file":
    shopper.page.set_input_files("#file", file(content))
  else:
    shopper.page.evaluate(PASTE if way == "paste" else DROP, ["mine.png", "image/png", list(content)])
  shopper.steps("Start: your picture")
  assert len(shopper.asked()["upload"][0]) == 32
  assert shopper.shows([result.id for result in searcher.search(content, k=24)])
  shopper.say("red")
  assert shopper.shows([result.id for result in searcher.search(content, ["red"], k=24)])
  shopper.page.reload()
  shopper.steps("Start: your picture", "“red”")
  assert shopper.shows([result.id for result in searcher.search(content, ["red"], k=24)])


def test_a_refused_file_is_named_and_the_message_goes_with_the_next(shopper):
  before = shopper.shown()
  shopper.page.set_input_files("#file", file(b"no picture at all"))
  alert = shopper.page.get_by_role("alert")
  shopper.expect(alert).to_contain_text("no image that can be read")
  assert shopper.shown()[:24] == before[:24] and shopper.asked() == {}
  shopper.page.set_input_files("#file", file(encoded_image(seed=7)))
  shopper.steps("Start: your picture")
  shopper.expect(shopper.page.locator("#trouble")).to_be_hidden()
  shopper.page.evaluate(DROP, ["notes.txt", "text/plain", list(b"words")])
  shopper.expect(alert).to_contain_text("no image that can be read")
  shopper.page.get_by_role("button", name="Close this message").click()
  shopper.expect(shopper.page.locator("#trouble")).to_be_hidden()
  shopper.steps("Start: your picture")


def test_a_photograph_is_made_smaller_before_it_is_sent(shopper):
  stream = io.BytesIO()
  noise = np.random.default_rng(0).integers(0, 256, (375, 500, 3), dtype=np.uint8)
  Image.fromarray(noise).resize((4000, 3000), Image.Resampling.NEAREST).save(stream, "JPEG", quality=95)
  assert len(stream.getvalue()) > 2_000_000
  shopper.page.evaluate(WATCH)
  shopper.page.set_input_files("#file", file(stream.getvalue(), "photo.jpg", "image/jpeg"))
  shopper.steps("Start: your picture")
  assert shopper.page.evaluate(SIZE) == ["image/jpeg", 1024, 768]


def test_a_picture_that_the_server_forgot_is_sent_again(shopper, searcher, uploads):
  content = encoded_image(seed=8)
  shopper.page.set_input_files("#file", file(content))
  shopper.steps("Start: your picture")
  before = shopper.asked()["upload"]
  for kept in uploads.path.iterdir():
    kept.unlink()
  shopper.say("blue")
  shopper.steps("Start: your picture", "“blue”")
  assert shopper.shows([result.id for result in searcher.search(content, ["blue"], k=24)])
  assert shopper.asked()["upload"] != before


def test_a_model_of_one_text_takes_the_new_one_instead(browser, searcher, uploads):
  images_alone = Searcher(fake_bundle(composes_features=False), searcher.index)
  content = encoded_image(seed=9)
  with served(build_app(images_alone, page_routes=page_routes, uploads=uploads)) as address:
    shopper = Shopper(browser, f"{address}/")
    shopper.page.set_input_files("#file", file(content))
    shopper.steps("Start: your picture")
    shopper.say("red")
    shopper.say("blue")
    shopper.steps("Start: your picture", "“blue”")
    assert shopper.shows([result.id for result in images_alone.search(content, ["blue"], k=24)])
    shopper.page.context.close()
  assert shopper.troubles == []
