"""Searches for the service: from checked requests to answers."""

from collections.abc import Callable, Iterable, Sequence
import dataclasses
import re

from composeret_jax.serving.index.columns import Filters
from composeret_jax.serving.searcher import Query, Result
from composeret_jax.serving.service.addresses import as_id, details, found_item, item
from composeret_jax.serving.service.batching import Batching
from composeret_jax.serving.service.limits.upload_folder import Expired, Sent, UploadFolder
from composeret_jax.serving.service.limits.uploads import read_upload
from composeret_jax.serving.service.live import Live
from composeret_jax.serving.service.messages import (
  as_filters,
  Details,
  Gallery,
  Kind,
  MAX_FOUND,
  Results,
  Search,
  Start,
)
from composeret_jax.serving.service.turns import answer, Question
from data_pipelines.input_error import InputError

FOLDERS = re.compile(r"(?<![\w/])/(?:[^\s/]+/)+")
MAX_MESSAGE = 300


class Missing(InputError):
  """There is no image of this id."""


class Retrieval:
  """Answers requests of many people at the same time: what arrives together is encoded and searched for together."""

  def __init__(self, live: Live, uploads: UploadFolder):
    self.live = live
    self.uploads = uploads
    self._encode: Batching = Batching(lambda images: self.live.searcher.from_images(images))
    self._answer: Batching = Batching(lambda questions: answer(self.live.searcher, questions))

  def grow_batches(self, sizes: Iterable[int], note: Callable[[int], None]) -> None:
    """Answers at most as many together as the newest of the sizes: those for which programs are compiled."""
    for size in sizes:
      self._encode.max_size = self._answer.max_size = size
      note(size)

  def search(self, request: Search) -> Results:
    """Raises InputError for what cannot be searched for, Missing and Expired for a start that is not there."""
    if request.image is None and request.upload is None:
      return self._search_words(request)
    wanted = min(request.offset + request.limit + 1, MAX_FOUND)
    question = dataclasses.replace(
      self._question(request),
      image_weight=request.image_weight,
      text_weight=request.text_weight,
      k=wanted,
      filters=as_filters(request.filters),
    )
    found = self._answer(question)
    unknown = self.live.searcher.unknown_words(request.texts)
    return _page(found.results, request, "composed" if request.texts else "image", unknown)

  def compose(self, request: Start) -> Query:
    """The query that the texts make of the image or upload, or of the mean image."""
    if request.image is None and request.upload is None:
      return self._from_texts(request.texts)
    return self._answer(self._question(request)).query

  def gallery(self, limit: int, offset: int, filters: Filters) -> Gallery:
    """Images to choose from."""
    searcher = self.live.searcher
    ids = searcher.index.browse(limit + 1, offset, filters)
    shown = [item(found) for found in searcher.results(ids[:limit]).values()]
    return Gallery(results=shown, next_offset=offset + limit if len(ids) > limit else None)

  def details(self, id: str) -> Details:
    """All that is known of an image; raises Missing."""
    return details(self.result(id))

  def result(self, id: str) -> Result:
    """An image of the index; raises Missing."""
    id = self.known(id)
    return self.live.searcher.results([id])[id]

  def known(self, id: str) -> str:
    """The id as the index has it; raises Missing when it has none."""
    index = self.live.searcher.index
    for name in dict.fromkeys((id, as_id(id))):
      if name in index:
        return name
    raise Missing(f"No picture here has the id {id[:100]}.")

  def receive(self, encoded: bytes) -> str:
    """Reads a picture that was sent, and returns the token that stands for it; raises InputError, Busy and OSError."""
    bundle = self.live.searcher.bundle
    pixels, jpeg = read_upload(encoded, bundle.image_size, bundle.resizing)
    return self.uploads.keep(Sent(self._encode(pixels), jpeg, bundle.fingerprint))

  def start_of(self, image: str | None, upload: str | None) -> Query:
    """The query that starts from an image of the index or an upload; raises Missing and Expired."""
    if upload is not None:
      sent = self.uploads.get(upload)
      if sent.fingerprint != self.live.searcher.bundle.fingerprint:  # servers of one user share the folder
        raise Expired("The upload was for another model: choose the picture again.")
      return sent.query
    return self.live.searcher.from_id(self.known(image or ""))

  def _question(self, request: Start) -> Question:
    return Question(self.start_of(request.image, request.upload), tuple(request.texts))

  def _from_texts(self, texts: Sequence[str]) -> Query:
    """The first text with the mean image, turned by the others; raises InputError where no word is known."""
    searcher = self.live.searcher
    first, *others = texts if searcher.bundle.composes_features else [" ".join(texts)]
    return self._answer(Question(searcher.from_text(first), tuple(others))).query

  def _search_words(self, request: Search) -> Results:
    """Images whose captions have all words, then those closest to what the texts mean; never none."""
    searcher, words, filters = self.live.searcher, " ".join(request.texts), as_filters(request.filters)
    ids = searcher.index.find(words, MAX_FOUND, filters)
    try:
      query: Query | None = self._from_texts(request.texts)
    except InputError:  # no word that the model knows
      query = None
    ranked = sorted(searcher.results(ids, query).values(), key=lambda found: -found.score)
    wanted = min(request.offset + request.limit + 1, MAX_FOUND)
    if (left := wanted - len(ranked)) > 0:
      if query is not None:
        ranked += self._answer(Question(query, k=left, exclude=frozenset(ids), filters=filters)).results
      elif not ids:
        ranked = list(searcher.results(searcher.index.browse(wanted, 0, filters)).values())
    results = _page(ranked[:wanted], request, "words", searcher.unknown_words(request.texts))
    if not ids:
      results.message, results.nearest_word = _no_caption(searcher.index.unfound(words))
    return results


def _page(ranked: list[Result], request: Search, kind: Kind, unknown_words: list[str]) -> Results:
  """The part of a list that a request asks for; the list is one longer where there is more."""
  end = request.offset + request.limit
  return Results(
    results=[found_item(result) for result in ranked[request.offset : end]],
    next_offset=end if len(ranked) > end else None,
    unknown_words=unknown_words,
    message=None,
    nearest_word=None,
    kind=kind,
  )


def _no_caption(unfound: dict[str, str | None]) -> tuple[str, str | None]:
  """The message where no caption has all words, and the word that may be meant."""
  if not unfound:
    return "No caption has all of these words.", None
  lacking = ", ".join(f"“{word}”" for word in unfound)[:MAX_MESSAGE]
  nearest = next((near for near in unfound.values() if near), None)
  return f"No caption has {lacking}." + (f" Did you mean “{nearest}”?" if nearest else ""), nearest


def public_message(error: Exception) -> str:
  """An error for strangers: short, and without the folders of this machine."""
  text = FOLDERS.sub("", str(error)).encode("utf-8", "backslashreplace").decode()
  return text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE - 1]}…"
