"""The service as an ASGI app: routes behind limits, and every mistake answered by its reason."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
import contextlib
import threading

import fastapi

from composeret_jax.serving.searcher import Searcher
from composeret_jax.serving.service.limits.access import Access, Counters
from composeret_jax.serving.service.limits.guard import Guard
from composeret_jax.serving.service.limits.upload_folder import UploadFolder
from composeret_jax.serving.service.live import Live
from composeret_jax.serving.service.metrics import Counted, Metrics
from composeret_jax.serving.service.retrieval import Retrieval
from composeret_jax.serving.service.routes.feedback import feedback_routes
from composeret_jax.serving.service.routes.items import item_routes
from composeret_jax.serving.service.routes.mistakes import answer_mistakes, PROBLEMS
from composeret_jax.serving.service.routes.search import search_routes
from composeret_jax.serving.service.routes.status import status_routes
from composeret_jax.serving.service.routes.suggestions import suggestion_routes
from composeret_jax.serving.service.routes.uploads import upload_routes
from composeret_jax.serving.service.settings import Settings

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
    retrieval.grow_batches([1], metrics.answers_together)
    threading.Thread(target=retrieval.grow_batches, args=(warming, metrics.answers_together), daemon=True).start()

  app = fastapi.FastAPI(
    title=settings.page_title,
    version="1",
    openapi_url="/v1/openapi.json",
    docs_url=None,  # would ask another host for scripts
    redoc_url=None,
    lifespan=lambda _: cared_for(retrieval),
    responses=PROBLEMS,
  )
  for routes in (
    search_routes(retrieval),
    item_routes(retrieval),
    upload_routes(retrieval),
    status_routes(retrieval, settings, metrics),
    feedback_routes(retrieval, settings),
    suggestion_routes(retrieval, settings),
    *([page_routes(settings)] if page_routes else []),
  ):
    app.include_router(routes)
  app.state.live = retrieval.live
  answer_mistakes(app)
  access = Access(settings.api_keys, settings.rate_limit, counters or Counters())
  app.add_middleware(Guard, admit=access, max_waiting=settings.max_waiting)
  app.add_middleware(Counted, metrics=metrics)
  app.add_middleware(Prefixed, prefix=settings.url_prefix)
  return app


@contextlib.asynccontextmanager
async def cared_for(retrieval: Retrieval) -> AsyncIterator[None]:
  """Sweeps uploads and takes up new generations of the index, as long as the app runs."""
  tasks = [asyncio.create_task(work) for work in (retrieval.uploads.keep_swept(), retrieval.live.keep_fresh())]
  yield
  for task in tasks:
    task.cancel()


class Prefixed:
  """ASGI middleware that says under which path a proxy shows the app; requests may have the path or not."""

  def __init__(self, app: Callable, prefix: str):
    self._app = app
    self._prefix = prefix

  async def __call__(self, scope, receive, send) -> None:
    """Passes it on."""
    await self._app(scope | {"root_path": self._prefix}, receive, send)
