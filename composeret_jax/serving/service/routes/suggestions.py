"""The address that suggests texts: those that rows of triplets have for pictures like the chosen one."""

import pathlib
from typing import Annotated

import fastapi
import numpy as np
import pydantic

from composeret_jax.serving.searcher import Searcher
from composeret_jax.serving.service.messages import Id, Suggestion, Suggestions, Token
from composeret_jax.serving.service.retrieval import Retrieval
from composeret_jax.serving.service.settings import Settings
from data_pipelines.datasets.catalogue.rows import read_triplets
from data_pipelines.input_error import InputError

MOST_ROWS = 20_000
LONGEST = 60  # characters

Limit = Annotated[int, pydantic.Field(ge=1, le=20)]


class KnownTexts:
  """Texts with the features of the images that they were said of."""

  def __init__(self, file: pathlib.Path, searcher: Searcher):
    """Reads a catalogue's triplets; raises InputError where no short text is of an image of the index."""
    rows = [(it.images[0], it.text) for it in read_triplets(str(file)).examples if len(it.text) <= LONGEST]
    rows = [(id, text) for id, text in dict.fromkeys(rows) if id in searcher.index]
    if not rows:
      raise InputError(f"--suggestions={file} has no text of at most {LONGEST} characters for an image of the index")
    rows = rows[:: -(-len(rows) // MOST_ROWS)]
    ids = list(dict.fromkeys(id for id, _ in rows))
    features = dict(zip(ids, searcher.index.get(ids).features, strict=True))
    self._features = np.stack([features[id] for id, _ in rows])
    self._texts = [text for _, text in rows]

  def for_feature(self, feature: np.ndarray, limit: int) -> list[str]:
    """Different texts of the images that come closest to a unit feature, the closest first."""
    nearest = np.argsort(-(self._features @ feature), kind="stable")
    texts: dict[str, None] = {}
    for row in nearest:
      texts[self._texts[row]] = None
      if len(texts) == limit:
        break
    return list(texts)


def suggestion_routes(retrieval: Retrieval, settings: Settings) -> fastapi.APIRouter:
  """Without a file of triplets there are none."""
  routes = fastapi.APIRouter(tags=["search"])
  known = KnownTexts(settings.suggestions, retrieval.live.searcher) if settings.suggestions else None

  @routes.get("/v1/suggestions")
  def suggestions(image: Id | None = None, upload: Token | None = None, limit: Limit = 6) -> Suggestions:
    """Texts that were said of pictures like this one: none where none are known."""
    if (image is None) == (upload is None):
      raise InputError("Suggestions are for one picture: give `image` or `upload`.")
    start = retrieval.start_of(image, upload)
    texts = known.for_feature(start.feature, limit) if known else []
    return Suggestions(suggestions=[Suggestion(text=text) for text in texts])

  return routes
