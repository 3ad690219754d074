"""What the page does, whoever asks: from what strangers send to what is shown."""

import base64
import binascii
import dataclasses
import functools
import math
import re
from typing import SupportsFloat

from composeret_jax.serving.page.batching import Batching
from composeret_jax.serving.page.conversation import answer, Change, Conversation, MAX_TURNS, Reference
from composeret_jax.serving.page.markup import data_url, image_grid, printable
from composeret_jax.serving.page.uploads import read_upload
from composeret_jax.serving.searcher import Result, Searcher
from data_pipelines.input_error import InputError

NUM_SHOWN = 24


MAX_SHOWN = 100


MAX_TEXT = 500


MAX_WEIGHT = 100


MAX_MESSAGE = 300


FOLDERS = re.compile(r"(?<![\w/])/(?:[^\s/]+/)+")


# What Page.search takes, in this order, by its types in JSON.
SEARCH_VALUES = {
  "reference": (str,),
  "texts": (list, type(None)),
  "image": (str,),
  "k": (int, float),
  "image_weight": (int, float),
  "text_weight": (int, float),
}


@dataclasses.dataclass(frozen=True, eq=False)
class View:
  """What the page shows: a conversation, and below a line of text the images, as HTML."""

  conversation: Conversation
  line: str
  images: str


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
    of a JPEG). Raises InputError for what cannot be searched for.
    """
    # Everything that costs little first.
    if not isinstance(texts, list | None):
      raise InputError(f"The texts are a {type(texts).__name__}, expected a list")
    texts = texts or []
    if len(texts) >= MAX_TURNS:
      raise InputError(
        f"A search has at most {MAX_TURNS} turns, its image one of them; this one has {len(texts) + 1:,}."
      )
    changes = [change(text, image_weight, text_weight) for text in texts]
    k = _number_of_images(k)
    start = self.from_id(reference) if reference else self.from_upload(_from_base64(image), "image")
    results = self.found(Conversation((start,)).said(*changes), k)
    return [
      {"rank": rank, "id": printable(found.id), "score": found.score, "caption": printable(found.caption)}
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

  def from_upload(self, encoded: object, name: str) -> Reference:
    """A turn: an image that was sent; raises InputError for what is none."""
    if not isinstance(encoded, bytes):
      raise InputError("There is no file.")
    pixels, thumbnail = read_upload(encoded, self.searcher.bundle.image_size, self.searcher.bundle.resizing)
    return Reference(self._encode(pixels), name, thumbnail)

  def found(self, conversation: Conversation, k: int) -> list[Result]:
    """What a conversation that has begun asks for."""
    return self._answer(conversation.question(_number_of_images(k)))

  def to_choose_from(self, words: object) -> list[Result]:
    """Images of the index with these words; raises InputError for what is no text."""
    if not isinstance(words, str):
      raise InputError("There are no words to look for.")
    if len(words) > MAX_TEXT:
      raise InputError(f"The words have {len(words):,} characters; at most {MAX_TEXT} are looked for.")
    ids = self.searcher.index.find(words, NUM_SHOWN)
    kept = self.searcher.index.get(ids)
    return [
      Result(entry.id, 0.0, entry.caption, entry.path, thumbnail)
      for entry, thumbnail in zip(kept.entries, kept.thumbnails, strict=True)
    ]

  def shown(self, conversation: Conversation, k: int) -> View:
    """What the page shows after a change of the conversation."""
    if not conversation.turns:
      return self.browse(conversation, "")
    results = self.found(conversation, k)
    changed = isinstance(conversation.turns[-1], Change)
    line = "Closest to what you said" if changed else "Images like it. What should be different?"
    if unknown := self.searcher.unknown_words(conversation.texts()):
      line += f". Not known, and left out: {', '.join(unknown)}"
    return View(conversation, line, image_grid(results, with_scores=True))

  def browse(self, conversation: Conversation, words: str) -> View:
    """Images to choose from; the conversation stays as it is."""
    images = self.to_choose_from(words)
    line = "Choose a picture to start from" if images else f"No picture has all of these words: {words}"
    return View(conversation, line, image_grid(images, with_scores=False))


def _number_of_images(k: object) -> int:
  number = to_int(k)
  if not 1 <= number <= MAX_SHOWN:
    raise InputError(f"k is {number}, expected 1 to {MAX_SHOWN}")
  return number


def _from_base64(image: object) -> bytes:
  if not isinstance(image, str) or not image:
    raise InputError("there is no reference: give the id of an image as `reference`, or a file in base64 as `image`")
  try:
    return base64.b64decode(image, validate=True)
  except (binascii.Error, ValueError) as error:
    raise InputError(f"`image` is not base64: {error}") from error


def change(text: object, image_weight: object, text_weight: object) -> Change:
  """A turn; raises InputError for what is no text, too long, or no weight."""
  if not isinstance(text, str) or not text.strip():
    raise InputError("There is no text. Say what should be different.")
  if len(text) > MAX_TEXT:
    raise InputError(f"The text has {len(text):,} characters; at most {MAX_TEXT} are read.")
  return Change(text.strip(), weight(image_weight), weight(text_weight))


def weight(value: object) -> float:
  """Raises InputError for what is no number, or one that would leave nothing of the rest."""
  number = _number(value)
  if not -MAX_WEIGHT <= number <= MAX_WEIGHT:
    raise InputError(f"A weight is {str(value)[:20]}, expected a number from -{MAX_WEIGHT} to {MAX_WEIGHT}.")
  return number


def to_int(value: object) -> int:
  """A number, or the digits of one; raises InputError for what is no whole number of a reasonable size."""
  number = _number(value)
  if not abs(number) < 1e9 or number != int(number):
    raise InputError(f"{str(value)[:20]} is no whole number.")
  return int(number)


def _number(value: object) -> float:
  try:
    return float(value) if isinstance(value, str | SupportsFloat) else math.nan
  except (TypeError, ValueError, OverflowError):
    return math.nan


def public_message(error: InputError) -> str:
  """An error for strangers: short, and without the folders of this machine."""
  return printable(FOLDERS.sub("", str(error)))[:MAX_MESSAGE]
