"""The page itself: what is on it, and what happens when it is used."""

from collections.abc import Callable, Sequence
import dataclasses
import functools
import pathlib

from composeret_jax.serving.page.actions import (
  change,
  MAX_SHOWN,
  MAX_TEXT,
  NUM_SHOWN,
  Page,
  public_message,
  to_int,
  View,
  weight,
)
from composeret_jax.serving.page.conversation import Conversation
from composeret_jax.serving.page.markup import alert, conversation_list, example_texts, heading
from composeret_jax.serving.searcher import Searcher
from data_pipelines.input_error import InputError

try:
  import gradio as gr
except ImportError as error:
  raise InputError("the page needs Gradio: pip install 'composeret-jax[serve]'") from error


MAX_SESSIONS = 1_000


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
# Whoever has gone on to another field in the meantime stays there.
AFTERWARDS = """
() => {
  const field = document.activeElement;
  if (field.matches("input, textarea") && !field.closest("#change")) return;
  if (matchMedia("(pointer: fine)").matches) document.querySelector("#change textarea")?.focus();
  else (document.querySelector("#trouble .trouble") ?? document.querySelector("#line")).scrollIntoView();
}
"""


def build_blocks(page: Page) -> gr.Blocks:
  """The page, with its conversation on the left and the images on the right."""
  with gr.Blocks(title="Composed image search", analytics_enabled=False, fill_width=True) as blocks:
    blocks.state_session_capacity = MAX_SESSIONS  # of more, the oldest conversations are forgotten
    parts = _lay_out(page.searcher)
    _connect(parts, _Events(page, parts), blocks.load)
    gr.api(_refusing(page.search), api_name="search", queue=False)
  return blocks


@dataclasses.dataclass(frozen=True, kw_only=True)
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
  title = f"# Composed image search\n{len(searcher.index):,} pictures. Show one, and say what should be different."
  gr.Markdown(title, elem_id="title")
  examples_to_try = example_texts(searcher.bundle.info.get("example_texts", []))
  with gr.Row():
    with gr.Column(scale=2, min_width=300):
      turns = gr.HTML(conversation_list(Conversation()), js_on_load=_on_button("turn", "take_back"), elem_id="turns")
      text = gr.Textbox(label="What should be different?", max_length=MAX_TEXT, submit_btn="Search", elem_id="change")
      trouble = gr.HTML(elem_id="trouble")
      examples = gr.HTML(examples_to_try, js_on_load=_on_button("text", "try_text"))
      file = gr.File(label="Upload a picture", file_types=["image"], type="binary", height=140, elem_id="upload")
      with gr.Accordion("Advanced", open=False):
        image_weight = gr.Slider(
          -1, 1, 0, step=0.05, label="Image alone", info="pulls towards the picture before the text"
        )
        text_weight = gr.Slider(
          -1, 1, 0, step=0.05, label="Text alone", info="pulls towards what the text means without a picture"
        )
        k = gr.Slider(4, MAX_SHOWN, NUM_SHOWN, step=4, label="Pictures shown")
      over = gr.Button("Start over", size="sm", elem_id="over")
    with gr.Column(scale=5, min_width=300):
      words = gr.Textbox(label="Find a picture by its caption", max_length=MAX_TEXT, elem_id="words")
      line = gr.HTML(elem_id="line")
      images = gr.HTML(js_on_load=_on_button("id", "choose"), elem_id="images")
  return _Parts(
    conversation=conversation,
    turns=turns,
    text=text,
    trouble=trouble,
    examples=examples,
    file=file,
    image_weight=image_weight,
    text_weight=text_weight,
    k=k,
    over=over,
    words=words,
    line=line,
    images=images,
  )


class _Events:
  """What happens on each event: from the values of some parts, and the event's own, to new values of parts."""

  def __init__(self, page: Page, parts: _Parts):
    self._page = page
    self._parts = parts

  def choose(self, conversation, k, event: gr.EventData):
    return self._show(conversation.said(self._page.from_id(event.value)), k)

  def upload(self, conversation, k, encoded):
    return self._show(conversation.said(self._page.from_upload(encoded, "uploaded picture")), k)

  def say(self, conversation, k, image_weight, text_weight, text):
    shown = self._show(conversation.said(change(text, image_weight, text_weight)), k)
    return shown | {self._parts.text: ""}

  def try_text(self, conversation, k, image_weight, text_weight, event: gr.EventData):
    return self.say(conversation, k, image_weight, text_weight, event.value)

  def take_back(self, conversation, k, event: gr.EventData):
    return self._show(conversation.without(to_int(event.value)), k)

  def weigh_again(self, conversation, k, image_weight, text_weight):
    return self._show(conversation.with_weights(weight(image_weight), weight(text_weight)), k)

  def browse(self, conversation, words):
    return self._values(self._page.browse(conversation, words))

  def start_over(self):
    return self.browse(Conversation(), "")

  def _show(self, conversation: Conversation, k: int) -> dict:
    return self._values(self._page.shown(conversation, to_int(k)))

  def _values(self, view: View) -> dict:
    return {
      self._parts.conversation: view.conversation,
      self._parts.turns: conversation_list(view.conversation),
      self._parts.line: heading(view.line),
      self._parts.images: view.images,
      self._parts.trouble: "",
    }


def _connect(parts: _Parts, events: _Events, load: Callable) -> None:
  """Ties events to what happens. They do not go through Gradio's queue, which takes longer than a search."""
  talk = [parts.conversation, parts.k]
  weighted = [*talk, parts.image_weight, parts.text_weight]
  changed = [parts.conversation, parts.turns, parts.line, parts.images, parts.trouble, parts.text, parts.file]
  options = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}

  def on(event: Callable, handler: Callable, inputs: Sequence):
    return event(_telling(handler, parts.trouble), inputs, changed, **options)

  for event in (load, parts.words.submit):
    on(event, events.browse, [parts.conversation, parts.words])
  for event in (parts.image_weight.release, parts.text_weight.release, parts.k.release):
    on(event, events.weigh_again, weighted)
  on(parts.file.upload, events.upload, [*talk, parts.file]).then(lambda: None, None, parts.file, **options)
  for done in (
    on(parts.images.choose, events.choose, talk),
    on(parts.text.submit, events.say, [*weighted, parts.text]),
    on(parts.examples.try_text, events.try_text, weighted),
    on(parts.turns.take_back, events.take_back, talk),
    on(parts.over.click, events.start_over, []),
  ):
    done.then(fn=None, js=AFTERWARDS)


def _telling(handler: Callable, trouble: gr.HTML) -> Callable:
  """Shows on the page what the handler refuses, and changes nothing else."""

  @functools.wraps(handler)
  def handle(*arguments):
    try:
      return handler(*arguments)
    except InputError as error:
      return {trouble: alert(public_message(error))}

  return handle


def _refusing(function: Callable) -> Callable:
  """What cannot be done is the API's error."""

  @functools.wraps(function)
  def call(*arguments, **named):
    try:
      return function(*arguments, **named)
    except InputError as error:
      raise gr.Error(public_message(error), print_exception=False) from error

  return call


def _on_button(field: str, name: str) -> str:
  return ON_BUTTON.replace("FIELD", field).replace("NAME", name)
