"""A search service without anything of ours but the model: FastAPI, and FAISS over features in memory.

python -m benchmarks.plain_service --bundle=bundles/icons --index=indexes/icons --port=8000

What benchmarks.search compares the service with. Each request composes and searches by itself, in a thread of
FastAPI's; the answer has what ours has of each image. It knows images of the index alone, and checks nothing.
"""

from absl import app, flags
import faiss
import fastapi
import numpy as np
import pydantic
import uvicorn

from composeret_jax.serving.bundle import load
from composeret_jax.serving.index import open_index

_BUNDLE = flags.DEFINE_string("bundle", None, "The bundle's folder.", required=True)
_INDEX = flags.DEFINE_string("index", None, "The index.", required=True)
_PORT = flags.DEFINE_integer("port", 8000, "Port to serve on.")


class Search(pydantic.BaseModel):
  """A search from an image of the index."""

  image: str
  texts: list[str]
  limit: int = 24


def make_app() -> fastapi.FastAPI:
  """The service, over all features of the index."""
  bundle, index = load(_BUNDLE.value), open_index(_INDEX.value)
  rows = index.get(sorted(index.entries()))
  numbers = {entry.id: number for number, entry in enumerate(rows.entries)}
  flat = faiss.IndexFlatIP(bundle.feature_dim)
  flat.add(rows.features)
  service = fastapi.FastAPI()

  @service.post("/v1/search")
  def search(request: Search) -> dict:
    number = numbers[request.image]
    features, norms = rows.features[number][None], rows.norms[number][None]
    for text in request.texts:
      features, norms = bundle.compose_features_with_norms(features, [text], norms)
    scores, found = flat.search(np.ascontiguousarray(features), request.limit + 1)
    hits = [(score, row) for score, row in zip(scores[0], found[0], strict=True) if row != number][: request.limit]
    return {
      "results": [
        {"id": rows.entries[row].id, "score": float(score), "caption": rows.entries[row].caption, "thumbnail": ""}
        for score, row in hits
      ]
    }

  return service


def main(_) -> None:
  """Serves until it is interrupted."""
  uvicorn.run(make_app(), host="127.0.0.1", port=_PORT.value, log_level="warning")


if __name__ == "__main__":
  app.run(main)
