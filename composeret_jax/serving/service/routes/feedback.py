"""The address that keeps what people choose, as rows that `configs/catalogue.py` trains on."""

import contextlib
import json
import os
import pathlib

import fastapi

from composeret_jax.serving.service.limits.refused import Refused
from composeret_jax.serving.service.messages import Feedback
from composeret_jax.serving.service.retrieval import Retrieval
from composeret_jax.serving.service.settings import Settings
from data_pipelines.datasets.annotations import check_inside, check_text
from data_pipelines.texts.words import unicode_words

REMEMBERED = 1_000_000  # bytes at the end of the file of wrong results, in which a query's are looked for
MOST_NEGATIVES = 20


class FeedbackFile:
  """A JSON lines file of triplets: `reference`, `text`, `target` and `negatives`.

  A result that is wrong is no row to train on. It goes to a file beside it, and from there into the negatives of a
  later row of the same query.
  """

  def __init__(self, file: pathlib.Path):
    self._file = file
    self._wrong = file.with_suffix(".wrong.jsonl")

  def add(self, reference: str, text: str, result: str, is_right: bool) -> None:
    """Appends a row. Raises InputError for names and texts that a catalogue refuses."""
    for name, where in ((reference, "image"), (result, "result")):
      check_inside(name, where)
    check_text(text, "texts")
    if reference == result or not unicode_words(text):
      raise Refused(400, "There is nothing to learn: the result is the image, or the text has no letter or digit.")
    if is_right:
      negatives = [name for name in self._rated_wrong(reference, text) if name not in (result, reference)]
      row = {"reference": reference, "text": text, "target": result, "negatives": negatives[-MOST_NEGATIVES:]}
      _append(self._file, row)
    else:
      _append(self._wrong, {"reference": reference, "text": text, "negative": result})

  def _rated_wrong(self, reference: str, text: str) -> list[str]:
    """Results that were wrong for this query, the oldest first, as far as the file's end says.

    Lines that are no such rows, as a full disk or an editor leaves them, are passed over.
    """
    if not self._wrong.exists():
      return []
    with self._wrong.open("rb") as file:
      size = file.seek(0, os.SEEK_END)
      file.seek(max(0, size - REMEMBERED))
      lines = file.read().splitlines()[1 if size > REMEMBERED else 0 :]
    found: dict[str, None] = {}
    for line in lines:
      with contextlib.suppress(ValueError, TypeError, KeyError):
        row = json.loads(line)
        if (row["reference"], row["text"]) == (reference, text) and isinstance(row["negative"], str):
          found[row["negative"]] = None
    return list(found)


def _append(file: pathlib.Path, row: dict) -> None:
  """One write at the end: rows of several processes do not mix."""
  descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
  try:
    os.write(descriptor, (json.dumps(row, ensure_ascii=False) + "\n").encode())
  finally:
    os.close(descriptor)


def feedback_routes(retrieval: Retrieval, settings: Settings) -> fastapi.APIRouter:
  """Only what starts from a picture of the index can be learned from: others are not in the catalogue."""
  routes = fastapi.APIRouter(tags=["feedback"])
  file = FeedbackFile(settings.feedback) if settings.feedback else None

  @routes.post("/v1/feedback", status_code=204, response_class=fastapi.Response)
  def rate(rated: Feedback) -> fastapi.Response:
    """Keeps a result that somebody chose or rated."""
    if file is None:
      raise Refused(404, "This service keeps no feedback.")
    if rated.query.image is None or not rated.query.texts:
      raise Refused(400, "Only a query that starts from a picture of the index, with a text, can be learned from.")
    text = " ".join(text.strip() for text in rated.query.texts)
    file.add(retrieval.known(rated.query.image), text, retrieval.known(rated.result), rated.rating != -1)
    return fastapi.Response(status_code=204)

  return routes
