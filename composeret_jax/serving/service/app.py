"""The service as an ASGI app: routes behind limits, and every mistake answered by its reason."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
import contextlib
import threading

import fastapi
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from composeret_jax.serving.searcher import Searcher
from composeret_jax.serving.service.limits.access import Access, Counters
from composeret_jax.serving.service.limits.guard import Guard, Refused
from composeret_jax.serving.service.limits.upload_folder import Expired, UploadFolder
from composeret_jax.serving.service.live import Live
from composeret_jax.serving.service.messages import Problem
from composeret_jax.serving.service.metrics import Counted, Metrics
from composeret_jax.serving.service.retrieval import Missing, public_message, Retrieval
from composeret_jax.serving.service.routes.feedback import feedback_routes
from composeret_jax.serving.service.routes.items import item_routes
from composeret_jax.serving.service.routes.search import search_routes
from composeret_jax.serving.service.routes.status import status_routes
from composeret_jax.serving.service.routes.uploads import upload_routes
from composeret_jax.serving.service.settings import Settings
from data_pipelines.input_error import InputError

PageRoutes = Callable[[Settings], fastapi.APIRouter]


def build_app(
  searcher: Searcher,
  settings: Settings | None = None,
  page_routes: PageRoutes | None = None,
  uploads: UploadFolder | None = None,
  counters: Counters | None = None,
  warming: Iterator[int] | None = None,
) -> fastapi.FastAPI:
  """The API, and the routes of a page beside it.

  `warming` is a `warm_up` that has made the programs for single searches: it goes on while the service answers.
  """
  settings = settings or Settings()
  retrieval = Retrieval(Live(searcher), uploads or UploadFolder())
  metrics = Metrics()
  if warming is not None:
    retrieval.grow_batches([1])
    threading.Thread(target=retrieval.grow_batches, args=(warming,), daemon=True).start()

  @contextlib.asynccontextmanager
  async def caring(_: fastapi.FastAPI) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work) for work in (retrieval.uploads.keep_swept(), retrieval.live.keep_fresh())]
    yield
    for task in tasks:
      task.cancel()

  app = fastapi.FastAPI(
    title=settings.page_title,
    version="1",
    openapi_url="/v1/openapi.json",
    docs_url=None,  # would ask another host for scripts
    redoc_url=None,
    lifespan=caring,
    responses={"4XX": {"model": Problem}, "5XX": {"model": Problem}},
  )
  for routes in (
    search_routes(retrieval),
    item_routes(retrieval),
    upload_routes(retrieval),
    status_routes(retrieval, settings, metrics),
    feedback_routes(retrieval, settings),
    *([page_routes(settings)] if page_routes else []),
  ):
    app.include_router(routes)
  app.state.live = retrieval.live
  _answer_mistakes(app)
  access = Access(settings.api_keys, settings.rate_limit, counters or Counters())
  app.add_middleware(Guard, admit=access, max_waiting=settings.max_waiting)
  app.add_middleware(Counted, metrics=metrics)
  app.add_middleware(Prefixed, prefix=settings.url_prefix)
  return app


class Prefixed:
  """ASGI middleware that says under which path a proxy shows the app; requests may have the path or not."""

  def __init__(self, app: Callable, prefix: str):
    self._app = app
    self._prefix = prefix

  async def __call__(self, scope, receive, send) -> None:
    """Passes it on."""
    await self._app(scope | {"root_path": self._prefix}, receive, send)


def _answer_mistakes(app: fastapi.FastAPI) -> None:
  """A reason for each; what is wrong with the server itself is in its log alone."""

  def problem(status: int, reason: str, field: str | None = None, headers: dict[str, str] | None = None):
    return JSONResponse({"error": reason, "field": field}, status, headers)

  @app.exception_handler(RequestValidationError)
  async def invalid(_, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    places = [str(place) for place in first["loc"][1:] if isinstance(place, int) or place.isidentifier()]
    field = ".".join(places)[:100] or None
    reason = first["msg"].removeprefix("Value error, ")
    return problem(400, public_message(InputError(f"{field}: {reason}" if field else reason)), field)

  @app.exception_handler(Refused)
  async def refused(_, error: Refused) -> JSONResponse:
    headers = {name.decode(): value.decode() for name, value in error.headers}
    return problem(error.status, public_message(error), headers=headers)

  @app.exception_handler(InputError)
  async def impossible(_, error: InputError) -> JSONResponse:
    return problem(404 if isinstance(error, Missing | Expired) else 400, public_message(error))

  @app.exception_handler(HTTPException)
  async def unknown(_, error: HTTPException) -> JSONResponse:
    known = {404: "There is nothing at this address.", 400: "The request is not JSON, or not the form that it says."}
    reason = known.get(error.status_code, str(error.detail))
    return problem(error.status_code, reason, headers=dict(error.headers or {}))

  @app.exception_handler(Exception)
  async def broken(_, error: Exception) -> JSONResponse:
    return problem(500, "The server could not answer. Its log says why.")
