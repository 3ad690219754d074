"""What people choose and rate, written as rows that `configs/catalogue.py` trains on."""

import json
import os
import pathlib
import threading

from composeret_jax.serving.service.limits.guard import Refused
from composeret_jax.serving.service.messages import Feedback
from composeret_jax.serving.service.retrieval import Retrieval


class FeedbackFile:
  """A JSON lines file of triplets: `reference`, `text`, `target`, and `negatives` for results that were wrong."""

  def __init__(self, file: pathlib.Path, retrieval: Retrieval):
    self._file = file
    self._retrieval = retrieval
    self._writing = threading.Lock()

  def add(self, feedback: Feedback) -> None:
    """Appends a row. Raises Refused for a query that no row can stand for, and Missing for an unknown image."""
    query = feedback.query
    if query.image is None or not query.texts:
      raise Refused(400, "Only queries that start from a picture of the index, with a text, can be learned from.")
    row = {
      "reference": self._retrieval.known(query.image),
      "text": " ".join(text.strip() for text in query.texts),
      "target": self._retrieval.known(feedback.result),
    }
    line = json.dumps(row, ensure_ascii=False) + "\n"
    # One write at the end of the file: rows of several processes do not mix.
    with self._writing:
      descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
      try:
        os.write(descriptor, line.encode())
      finally:
        os.close(descriptor)
