"""The page's lists as HTML: images to choose from or that were found, and the conversation so far.

Thumbnails are in the HTML itself, so that the page serves no files.
"""

import base64
from collections.abc import Iterable, Sequence
import html

from composeret_jax.serving.page.conversation import Conversation, Reference, Turn
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
  tiles = []
  for place, result in enumerate(results, 1):
    id, name = escaped(result.id), escaped(result.caption or result.id)
    score = f'<span class="score">{place}. &ensp;{result.score:.3f}</span>' if with_scores else ""
    tiles.append(
      f'<button type="button" data-id="{id}" title="Go on from this picture: {id}">'
      f'<img src="{data_url(result.thumbnail)}" alt="">{score}<span class="caption">{name}</span></button>'
    )
  return f'<div class="tiles">{"".join(tiles)}</div>'


def conversation_list(conversation: Conversation) -> str:
  """The turns, each with a button that has its number in `data-turn`; before the first, what to do."""
  if not conversation.turns:
    return _STEPS
  turns = "".join(_turn(number, turn) for number, turn in enumerate(conversation.turns))
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


def _turn(number: int, turn: Turn) -> str:
  if isinstance(turn, Reference):
    what = escaped(turn.name)
    shown = f'<img src="{data_url(turn.thumbnail)}" alt=""><span class="said">{what}</span>'
  else:
    what = escaped(turn.text)
    weights = {"image": turn.image_weight, "text": turn.text_weight}
    weighted = ", ".join(f"{name} {weight:+g}" for name, weight in weights.items() if weight)
    shown = f'<span class="said">“{what}”{f" <small>{weighted}</small>" if weighted else ""}</span>'
  return (
    f'<li>{shown}<button type="button" class="back" data-turn="{number}" aria-label="Take back: {what}" '
    'title="Take back">×</button></li>'
  )
