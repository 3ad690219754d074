"""The addresses that say how the service is: health, what a page shows around the search, metrics, a session."""

import fastapi
from fastapi.responses import FileResponse

from composeret_jax.serving.service.limits.access import COOKIE, key_of
from composeret_jax.serving.service.limits.refused import Refused
from composeret_jax.serving.service.messages import Health, Page
from composeret_jax.serving.service.metrics import Metrics
from composeret_jax.serving.service.retrieval import Retrieval
from composeret_jax.serving.service.settings import LOGO_KINDS, Settings

LOGO = "v1/page/logo"


def status_routes(retrieval: Retrieval, settings: Settings, metrics: Metrics) -> fastapi.APIRouter:
  """All of these answer at once."""
  routes = fastapi.APIRouter(tags=["status"])

  @routes.get("/v1/health")
  def health() -> Health:
    """Answers when the service does."""
    live = retrieval.live
    return Health(status="ok", images=len(live.searcher.index), generation=live.generation)

  @routes.get("/v1/page")
  def page() -> Page:
    """The texts, logo and colour that a page shows around the search."""
    return Page(
      title=settings.page_title,
      logo=LOGO if settings.page_logo else None,
      accent=settings.page_accent or None,
      images=len(retrieval.live.searcher.index),
      feedback=settings.feedback is not None,
      composes_turns=retrieval.live.searcher.bundle.composes_features,
      needs_key=bool(settings.api_keys),
    )

  @routes.get(f"/{LOGO}", response_class=fastapi.Response)
  def logo() -> fastapi.Response:
    """The picture beside the title."""
    if settings.page_logo is None:
      raise Refused(404, "This service has no logo.")
    kind = LOGO_KINDS[settings.page_logo.suffix.lower()]
    return FileResponse(settings.page_logo, media_type=kind, headers={"Cache-Control": "max-age=3600"})

  @routes.post("/v1/session", status_code=204, response_class=fastapi.Response)
  def session(request: fastapi.Request) -> fastapi.Response:
    """Keeps the key that the request brings in a cookie, which scripts cannot read: for pages in a browser."""
    if not settings.api_keys:
      raise Refused(404, "This service needs no API key.")
    answer = fastapi.Response(status_code=204)
    secure = request.url.scheme == "https"
    path = f"{settings.url_prefix}/"
    answer.set_cookie(COOKIE, key_of(request.scope), httponly=True, samesite="strict", secure=secure, path=path)
    return answer

  @routes.get("/metrics", response_class=fastapi.Response)
  def shown_metrics() -> fastapi.Response:
    """Requests, seconds and batches, as Prometheus reads them."""
    return fastapi.Response(metrics.text(len(retrieval.live.searcher.index)), media_type=metrics.CONTENT_TYPE)

  return routes
