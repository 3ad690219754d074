"""The addresses that find something: search, compose, gallery, suggestions."""

from typing import Annotated

import fastapi
import pydantic

from composeret_jax.serving.service.messages import (
  as_filters,
  Composed,
  FILTERS,
  Gallery,
  NUM_SHOWN,
  Results,
  Search,
  Start,
)
from composeret_jax.serving.service.retrieval import Retrieval
from data_pipelines.input_error import InputError

Limit = Annotated[int, pydantic.Field(ge=1, le=100)]
Filter = Annotated[str, pydantic.StringConstraints(max_length=4_000)]
Offset = Annotated[int, pydantic.Field(ge=0, le=10**9)]


def search_routes(retrieval: Retrieval) -> fastapi.APIRouter:
  """Requests are checked by their models; what they ask for runs in threads."""
  routes = fastapi.APIRouter(tags=["search"])

  @routes.post("/v1/search", response_model=Results)
  def search(request: Search) -> fastapi.Response:
    """Finds images: by words alone, like an image, or by what texts make of an image."""
    return as_json(retrieval.search(request))

  @routes.post("/v1/compose")
  def compose(request: Start) -> Composed:
    """The feature that a search compares with the images' features."""
    query = retrieval.compose(request)
    return Composed(feature=query.feature.tolist(), norm=query.norm)

  @routes.get("/v1/gallery", response_model=Gallery)
  def gallery(limit: Limit = NUM_SHOWN, offset: Offset = 0, filter: Filter = "{}") -> fastapi.Response:
    """Images to choose from, in a fixed order that is spread over the index; `filter` is JSON as a search's filters."""
    try:
      chosen = FILTERS.validate_json(filter, strict=True)
    except pydantic.ValidationError as error:
      raise InputError(f"filter: {error.errors()[0]['msg']}") from None
    return as_json(retrieval.gallery(limit, offset, as_filters(chosen)))

  return routes


def as_json(answer: pydantic.BaseModel) -> fastapi.Response:
  """A finished answer. FastAPI would check it in a thread once more, for which it waits behind all other requests."""
  return fastapi.Response(answer.model_dump_json(), media_type="application/json")
