"""The addresses of single images: what is known of them, and their pictures."""

import hashlib
import io
import pathlib

import fastapi
from PIL import Image
from starlette.convertors import PathConvertor, register_url_convertor

from composeret_jax.serving.searcher import Result
from composeret_jax.serving.service.addresses import thumbnail_version
from composeret_jax.serving.service.messages import Column, Columns, Details
from composeret_jax.serving.service.retrieval import Missing, Retrieval
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import readable

FOR_EVER = "private, max-age=31536000, immutable"
A_MOMENT = "private, max-age=60"
THUMBNAIL = "/thumbnail"
MAX_PICTURE = 100_000_000  # bytes
SHOWN = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif", "BMP": "image/bmp"}
SHOWN |= {"AVIF": "image/avif"}
JPEG: dict[str, dict] = {"image/jpeg": {}}


class IdConvertor(PathConvertor):
  """The rest of a path, lines and slashes included: a file's name may have any."""

  regex = r"[\s\S]*"


register_url_convertor("id", IdConvertor())


def item_routes(retrieval: Retrieval) -> fastapi.APIRouter:
  """An id is the rest of the path, quoted; it may have slashes."""
  routes = fastapi.APIRouter(tags=["images"])

  @routes.get("/v1/columns")
  def columns() -> Columns:
    """The columns of metadata that filters can name."""
    found = retrieval.live.searcher.index.columns()
    return Columns(
      columns=[
        Column(name=it.name, kind=it.kind, values=list(it.values) or None, min=it.low, max=it.high) for it in found
      ]
    )

  @routes.get("/v1/items/{id:id}")
  def details(id: str) -> Details:
    """All that is known of an image."""
    return retrieval.details(id)

  @routes.get("/v1/images/{id:id}/thumbnail", response_class=fastapi.Response, responses={200: {"content": JPEG}})
  def small(id: str, request: fastapi.Request, v: str = "") -> fastapi.Response:
    """The thumbnail of an image. With the `v` of an answer it may be kept for ever."""
    try:
      jpeg = retrieval.result(id).thumbnail
    except Missing:
      return whole(f"{id}{THUMBNAIL}", request)  # an image of this name
    return picture(request, jpeg, "image/jpeg", FOR_EVER if v == thumbnail_version(jpeg) else A_MOMENT)

  @routes.get("/v1/images/{id:id}", response_class=fastapi.Response, responses={200: {"content": JPEG}})
  def whole(id: str, request: fastapi.Request) -> fastapi.Response:
    """The picture itself, where its file is on the server's disk and is what was indexed; otherwise the thumbnail."""
    return picture(request, *indexed_picture(retrieval.result(id), retrieval.live.searcher.index), A_MOMENT)

  return routes


def picture(request: fastapi.Request, content: bytes, kind: str, caching: str) -> fastapi.Response:
  """A picture, or 304 for who has it already."""
  tag = f'"{thumbnail_version(content)}"'
  headers = {"ETag": tag, "Cache-Control": caching, "Content-Disposition": "inline"}
  if tag in request.headers.get("if-none-match", ""):
    return fastapi.Response(status_code=304, headers=headers)
  return fastapi.Response(content, media_type=kind, headers=headers)


def indexed_picture(result: Result, index) -> tuple[bytes, str]:
  """The bytes of an image's file and their type, if they are those that were indexed, by SHA-256; else the thumbnail's.

  So no file is shown but those that were indexed, whatever an index says of their paths.
  """
  thumbnail = result.thumbnail, "image/jpeg"
  try:
    file = pathlib.Path(result.path)
    if not result.path or not file.is_file() or file.stat().st_size > MAX_PICTURE:
      return thumbnail
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != index.get([result.id]).entries[0].sha256:
      return thumbnail
    with readable(result.id), Image.open(io.BytesIO(content)) as image:
      kind = image.format
  except (OSError, ValueError, InputError):
    return thumbnail
  return (content, SHOWN[kind]) if kind in SHOWN else thumbnail
