"""The page's lists as HTML: images to choose from or that were found, and the conversation so far.

Thumbnails are in the HTML itself, so that the page serves no files.
"""

import base64
from collections.abc import Iterable, Sequence
import html

from composeret_jax.serving.page.conversation import Change, Conversation, Reference, Turn
from composeret_jax.serving.searcher import Result

# What the page's templates would evaluate, beside what HTML gives a meaning.
_TEMPLATE_SIGNS = {ord(sign): f"&#{ord(sign)};" for sign in "${}`\\"}


def printable(text: str) -> str:
  """Text that can be sent: of a file's name that is not UTF-8, the bytes that are none are shown escaped."""
  return text.encode("utf-8", "backslashreplace").decode()


def escaped(text: str) -> str:
  """Text that shows as it is, whatever is in it, between tags and in quoted attributes."""
  return html.escape(printable(text)).translate(_TEMPLATE_SIGNS)


def image_grid(results: Sequence[Result], with_scores: bool) -> str:
  """Each image as a button that has its id in `data-id`; best first, numbered, where there are scores."""
  tiles = "".join(_tile(place, result, with_scores) for place, result in enumerate(results, 1))
  return f'<div class="tiles">{tiles}</div>'


def conversation_list(conversation: Conversation) -> str:
  """The turns, each with a button that has its number in `data-turn`; before the first, what to do."""
  if not conversation.turns:
    return _STEPS
  turns = "".join(f"<li>{_turn(turn)}{_back(number, turn)}</li>" for number, turn in enumerate(conversation.turns))
  return f'<ol class="turns" aria-label="Conversation so far">{turns}</ol>'


def example_texts(texts: Iterable[str]) -> str:
  """Texts to try, as buttons that have them in `data-text`; nothing where there are none."""
  buttons = "".join(f'<button type="button" data-text="{escaped(text)}">{escaped(text)}</button>' for text in texts)
  return f'<div class="examples"><span>Try:</span>{buttons}</div>' if buttons else ""


def heading(text: str) -> str:
  """A line above the images, which screen readers read out when it changes."""
  return f'<h2 class="found" role="status">{escaped(text)}</h2>'


def alert(message: str) -> str:
  """What could not be done; screen readers read it out."""
  return f'<p class="trouble" role="alert">{escaped(message)}</p>'


def data_url(jpeg: bytes) -> str:
  """A JPEG for an `src`."""
  return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


_STEPS = """
<ol class="steps">
  <li>Choose a picture that comes close to what you look for, or upload one.</li>
  <li>Say what should be different.</li>
  <li>Look, and say more, or go on from one of the pictures that were found.</li>
</ol>
"""


def _tile(place: int, result: Result, with_score: bool) -> str:
  name = escaped(result.caption or result.id)
  score = f'<span class="score">{place}. &ensp;{result.score:.3f}</span>' if with_score else ""
  return (
    f'<button type="button" data-id="{escaped(result.id)}" title="Go on from this picture: {escaped(result.id)}">'
    f'<img src="{data_url(result.thumbnail)}" alt="">{score}<span class="caption">{name}</span></button>'
  )


def _turn(turn: Turn) -> str:
  if isinstance(turn, Reference):
    return f'<img src="{data_url(turn.thumbnail)}" alt=""><span class="said">{escaped(turn.name)}</span>'
  return f'<span class="said">“{escaped(turn.text)}”{_weights(turn)}</span>'


def _weights(change: Change) -> str:
  weights = {"image": change.image_weight, "text": change.text_weight}
  shown = ", ".join(f"{name} {weight:+g}" for name, weight in weights.items() if weight)
  return f" <small>{shown}</small>" if shown else ""


def _back(number: int, turn: Turn) -> str:
  what = turn.name if isinstance(turn, Reference) else turn.text
  return (
    f'<button type="button" class="back" data-turn="{number}" aria-label="Take back: {escaped(what)}" '
    'title="Take back">×</button>'
  )
