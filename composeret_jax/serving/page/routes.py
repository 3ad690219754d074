"""Serves the page: its HTML, with the shop's name and a preview for links, and its files."""

from collections.abc import Mapping
import html
import string
from urllib.parse import quote

import fastapi
from fastapi.responses import HTMLResponse, Response

from composeret_jax.serving.page.assets import Asset, FOLDER, read_assets, version_of
from composeret_jax.serving.service.settings import Settings

DESCRIPTION = "Search by showing a picture and saying what should be different."
LOGO = "v1/page/logo"
FOR_EVER = "public, max-age=31536000, immutable"
# Nothing from elsewhere, and nothing written into the page runs.
HEADERS = {
  "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
  "connect-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'",
  "permissions-policy": "geolocation=(), microphone=()",
}


def page_routes(settings: Settings) -> fastapi.APIRouter:
  """The page at "/", and its files below "/page"."""
  page = Page(settings)
  router = fastapi.APIRouter(include_in_schema=False)

  @router.api_route("/", methods=["GET", "HEAD"])
  def index(request: fastapi.Request) -> Response:
    origin = f"{request.url.scheme}://{request.url.netloc}"
    return HTMLResponse(page.html(origin, request.query_params), headers=HEADERS | {"cache-control": "no-cache"})

  @router.api_route("/page/{version}/{name}", methods=["GET", "HEAD"])
  def file(version: str, name: str, request: fastapi.Request) -> Response:
    asset = page.assets.get(name) if version == page.version else None
    if asset is None:
      raise fastapi.HTTPException(404)
    return answer(asset, "gzip" in request.headers.get("accept-encoding", ""))

  return router


class Page:
  """The page of one shop: `assets` by name, and what is part of their addresses, `version`."""

  def __init__(self, settings: Settings):
    self.assets = read_assets(settings.page_accent)
    self.version = version_of(self.assets)
    self._base = f"{settings.url_prefix}/"
    self._logo = LOGO if settings.page_logo else ""
    folder = f"page/{self.version}"
    scripts = [name for name in self.assets if name.endswith(".js")]
    self._values = {
      "base": html.escape(self._base),
      "title": html.escape(settings.page_title),
      "description": html.escape(DESCRIPTION),
      "assets": folder,
      "icon": self._logo or f"{folder}/favicon.svg",
      "logo": f'<img src="{self._logo}" alt="">' if self._logo else "",
      "modules": "\n".join(f'<link rel="modulepreload" href="{folder}/{name}">' for name in scripts),
    }
    self._template = string.Template((FOLDER / "index.html").read_text())

  def html(self, origin: str, query: Mapping[str, str]) -> str:
    """The page's HTML. Where a link to it is previewed, the preview shows its search's picture, or else the logo."""
    id = query.get("item") or query.get("image")
    picture = f"v1/images/{quote(id)}/thumbnail" if id else self._logo
    address = html.escape(f"{origin}{self._base}{picture}")
    return self._template.substitute(
      self._values, preview=f'<meta property="og:image" content="{address}">' if picture else ""
    )


def answer(asset: Asset, compresses: bool) -> Response:
  """A file, compressed for browsers that read this."""
  headers = HEADERS | {"cache-control": FOR_EVER, "vary": "accept-encoding"}
  if compresses:
    headers["content-encoding"] = "gzip"
  return Response(asset.compressed if compresses else asset.content, media_type=asset.media_type, headers=headers)
