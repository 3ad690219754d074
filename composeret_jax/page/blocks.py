"""The page itself: what is on it, and what happens when it is used."""

import base64
import binascii
from collections.abc import Callable, Sequence
import dataclasses
import functools
import pathlib

from composeret_jax.page.batching import Batching
from composeret_jax.page.conversation import answer, Change, Conversation, Reference
from composeret_jax.page.markup import alert, conversation_list, data_url, example_texts, heading, image_grid
from composeret_jax.page.uploads import read_upload
from composeret_jax.searcher import Result, Searcher
from data_pipelines.input_error import InputError

try:
  import gradio as gr
except ImportError as error:
  raise InputError("the page needs Gradio: pip install 'composeret-jax[serve]'") from error

NUM_SHOWN = 24
MAX_SHOWN = 100
MAX_TEXT = 500
CSS = pathlib.Path(__file__).with_name("page.css")
THEME = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])

# Gives the button that was clicked, by what it holds, to the event NAME.
ON_BUTTON = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-FIELD]");
  if (button) trigger("NAME", {value: button.dataset.FIELD});
});
"""
# The next thing to do: where there is a keyboard, to say more; on a phone, to look at what was found.
AFTERWARDS = """
() => {
  if (matchMedia("(pointer: fine)").matches) document.querySelector("#change textarea")?.focus();
  else (document.querySelector("#trouble .trouble") ?? document.querySelector("#line")).scrollIntoView();
}
"""


class Page:
  """What the page does, for all who use it at the same time: each conversation comes in and goes out."""

  def __init__(self, searcher: Searcher):
    """Searches of different people are answered together."""
    self.searcher = searcher
    self._encode = Batching(searcher.from_images)
    self._answer = Batching(functools.partial(answer, searcher))

  def search(
    self,
    reference: str = "",
    texts: list[str] | None = None,
    image: str = "",
    k: int = 10,
    image_weight: float = 0.0,
    text_weight: float = 0.0,
  ) -> list[dict]:
    """The images that come closest to what the texts, one after the other, make of a reference.

    `reference` is the id of an image of the index; where it is empty, `image` is an image file in base64. Gives for
    each of the `k` images, best first: rank, id, score (inner product with the query), caption, and thumbnail (data URL
    of a JPEG).
    """
    try:
      start = self.from_id(reference) if reference else self.from_upload(_from_base64(image), "image")
      changes = [Change(_checked_text(text), float(image_weight), float(text_weight)) for text in texts or ()]
      results = self.found(Conversation((start,)).said(*changes), int(k))
    except (InputError, TypeError, ValueError) as error:
      raise gr.Error(str(error), print_exception=False) from error
    return [
      {"rank": rank, "id": found.id, "score": found.score, "caption": found.caption}
      | {"thumbnail": data_url(found.thumbnail)}
      for rank, found in enumerate(results, 1)
    ]

  def from_id(self, id: object) -> Reference:
    """A turn: an image of the index; raises InputError for what is not the id of one."""
    if not isinstance(id, str):
      raise InputError(f"The reference is a {type(id).__name__}, expected the id of an image.")
    if id not in self.searcher.index:
      raise InputError(f"No picture here has the id {id}.")
    kept = self.searcher.index.get([id])
    return Reference(self.searcher.from_id(id), kept.entries[0].caption or id, kept.thumbnails[0])

  def from_upload(self, encoded: bytes, name: str) -> Reference:
    """A turn: an image that was sent."""
    bundle = self.searcher.bundle
    pixels, thumbnail = read_upload(encoded, bundle.image_size, bundle.resizing)
    return Reference(self._encode(pixels), name, thumbnail)

  def found(self, conversation: Conversation, k: int) -> list[Result]:
    """What a conversation that has begun asks for."""
    if not 1 <= k <= MAX_SHOWN:
      raise InputError(f"k is {k}, expected 1 to {MAX_SHOWN}")
    return self._answer(conversation.question(k))

  def to_choose_from(self, words: str) -> list[Result]:
    """Images of the index with these words."""
    ids = self.searcher.index.find(words[:MAX_TEXT], NUM_SHOWN)
    kept = self.searcher.index.get(ids)
    return [
      Result(entry.id, 0.0, entry.caption, entry.path, thumbnail)
      for entry, thumbnail in zip(kept.entries, kept.thumbnails, strict=True)
    ]

  # What is shown: the conversation, itself and as a list, the line above the images, the images.

  def shown(self, conversation: Conversation, k: int) -> tuple[Conversation, str, str, str]:
    """After a change of the conversation."""
    if not conversation.turns:
      return self.browse(conversation, "")
    results = self.found(conversation, k)
    changed = isinstance(conversation.turns[-1], Change)
    line = "Closest to what you said" if changed else "Images like it. What should be different?"
    return conversation, conversation_list(conversation), heading(line), image_grid(results, with_scores=True)

  def browse(self, conversation: Conversation, words: str) -> tuple[Conversation, str, str, str]:
    """Images to choose from; the conversation stays as it is."""
    images = self.to_choose_from(words)
    line = "Choose a picture to start from" if images else f"No picture has all of these words: {words}"
    return conversation, conversation_list(conversation), heading(line), image_grid(images, with_scores=False)


def _from_base64(image: str) -> bytes:
  if not image:
    raise InputError("there is no reference: give the id of an image as `reference`, or a file in base64 as `image`")
  try:
    return base64.b64decode(image, validate=True)
  except (binascii.Error, ValueError) as error:
    raise InputError(f"`image` is not base64: {error}") from error


def _checked_text(text: object) -> str:
  if not isinstance(text, str) or not text.strip():
    raise InputError("There is no text. Say what should be different.")
  if len(text) > MAX_TEXT:
    raise InputError(f"The text has {len(text):,} characters; at most {MAX_TEXT} are read.")
  return text.strip()


def build_blocks(searcher: Searcher) -> gr.Blocks:
  """The page over a searcher."""
  page = Page(searcher)
  with gr.Blocks(
    title="Composed image search", analytics_enabled=False, fill_width=True, delete_cache=(600, 600)
  ) as blocks:
    parts = _lay_out(searcher)
    _connect(page, parts, blocks.load)
    gr.api(page.search, api_name="search", queue=False)
  return blocks


@dataclasses.dataclass(frozen=True)
class _Parts:
  """What is on the page, from top to bottom; `trouble` says what could not be done."""

  conversation: gr.State
  turns: gr.HTML
  text: gr.Textbox
  trouble: gr.HTML
  examples: gr.HTML
  file: gr.File
  image_weight: gr.Slider
  text_weight: gr.Slider
  k: gr.Slider
  over: gr.Button
  words: gr.Textbox
  line: gr.HTML
  images: gr.HTML


def _lay_out(searcher: Searcher) -> _Parts:
  conversation = gr.State(Conversation())
  gr.Markdown(_title(searcher), elem_id="title")
  with gr.Row():
    with gr.Column(scale=2, min_width=300):
      turns = gr.HTML(conversation_list(Conversation()), js_on_load=_on_button("turn", "take_back"), elem_id="turns")
      text = gr.Textbox(label="What should be different?", max_length=MAX_TEXT, submit_btn="Search", elem_id="change")
      trouble = gr.HTML(elem_id="trouble")
      examples = gr.HTML(example_texts(_texts_to_try(searcher)), js_on_load=_on_button("text", "try_text"))
      file = gr.File(label="Upload a picture", file_types=["image"], type="binary", height=140, elem_id="upload")
      sliders = _sliders()
      over = gr.Button("Start over", size="sm", elem_id="over")
    with gr.Column(scale=5, min_width=300):
      words = gr.Textbox(label="Find a picture by its caption", max_length=MAX_TEXT, elem_id="words")
      line = gr.HTML(elem_id="line")
      images = gr.HTML(js_on_load=_on_button("id", "choose"), elem_id="images")
  return _Parts(conversation, turns, text, trouble, examples, file, *sliders, over, words, line, images)


def _sliders() -> tuple[gr.Slider, gr.Slider, gr.Slider]:
  with gr.Accordion("Advanced", open=False):
    return (
      gr.Slider(-1, 1, 0, step=0.05, label="Image alone", info="pulls towards the picture before the text"),
      gr.Slider(-1, 1, 0, step=0.05, label="Text alone", info="pulls towards what the text means without a picture"),
      gr.Slider(4, MAX_SHOWN, NUM_SHOWN, step=4, label="Pictures shown"),
    )


def _connect(page: Page, parts: _Parts, load: Callable) -> None:
  """What happens on each event. They do not go through Gradio's queue, which takes longer than a search."""
  talk = [parts.conversation, parts.k]
  weighted = [*talk, parts.image_weight, parts.text_weight]
  shown = [parts.conversation, parts.turns, parts.line, parts.images, parts.trouble, parts.text, parts.file]

  def show(conversation: Conversation, k: int) -> dict:
    return dict(zip(shown, (*page.shown(conversation, int(k)), ""), strict=False))

  def choose(conversation, k, event: gr.EventData):
    return show(conversation.said(page.from_id(event.value)), k)

  def upload(conversation, k, encoded):
    return show(conversation.said(page.from_upload(encoded, "uploaded picture")), k)

  def change(conversation, k, image_weight, text_weight, text):
    said = Change(_checked_text(text), float(image_weight), float(text_weight))
    return show(conversation.said(said), k) | {parts.text: ""}

  def try_text(conversation, k, image_weight, text_weight, event: gr.EventData):
    return change(conversation, k, image_weight, text_weight, event.value)

  def take_back(conversation, k, event: gr.EventData):
    return show(conversation.without(int(event.value)), k)

  def again(conversation, k, image_weight, text_weight):
    return show(conversation.with_weights(float(image_weight), float(text_weight)), k)

  def browse(conversation, words):
    return dict(zip(shown, (*page.browse(conversation, words), ""), strict=False))

  options = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}

  def on(event: Callable, handler: Callable, inputs: Sequence):
    return event(_telling(handler, parts.trouble), inputs, shown, **options)

  for event in (load, parts.words.submit):
    on(event, browse, [parts.conversation, parts.words])
  for event in (parts.image_weight.release, parts.text_weight.release, parts.k.release):
    on(event, again, weighted)
  on(parts.file.upload, upload, [*talk, parts.file]).then(lambda: None, None, parts.file, **options)
  for done in (
    on(parts.images.choose, choose, talk),
    on(parts.text.submit, change, [*weighted, parts.text]),
    on(parts.examples.try_text, try_text, weighted),
    on(parts.turns.take_back, take_back, talk),
    on(parts.over.click, lambda: browse(Conversation(), ""), []),
  ):
    done.then(fn=None, js=AFTERWARDS)


def _telling(handler: Callable, trouble: gr.HTML) -> Callable:
  """What cannot be done is said on the page, and nothing else changes."""

  @functools.wraps(handler)
  def handle(*arguments):
    try:
      return handler(*arguments)
    except InputError as error:
      return {trouble: alert(str(error))}

  return handle


def _on_button(field: str, name: str) -> str:
  return ON_BUTTON.replace("FIELD", field).replace("NAME", name)


def _title(searcher: Searcher) -> str:
  return f"# Composed image search\n{len(searcher.index):,} pictures. Show one, and say what should be different."


def _texts_to_try(searcher: Searcher) -> Sequence[str]:
  return searcher.bundle.info.get("example_texts", [])
