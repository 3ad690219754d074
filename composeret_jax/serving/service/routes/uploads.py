"""The addresses of pictures that people send."""

import fastapi
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from composeret_jax.serving.service.limits.refused import Refused
from composeret_jax.serving.service.limits.uploads import Busy, MAX_BYTES
from composeret_jax.serving.service.messages import Token, Upload
from composeret_jax.serving.service.retrieval import Retrieval
from composeret_jax.serving.service.routes.items import JPEG, picture

FORM_TYPE = "multipart/form-data"
FORM = {
  "content": {
    FORM_TYPE: {
      "schema": {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary"}},
      }
    }
  }
}


def upload_routes(retrieval: Retrieval) -> fastapi.APIRouter:
  """A picture is read and encoded when it arrives; what is kept of it is small."""
  routes = fastapi.APIRouter(tags=["uploads"])

  @routes.post("/v1/uploads", openapi_extra={"requestBody": FORM})
  async def upload(request: fastapi.Request) -> Upload:
    """Takes one picture, in the field `file` of a form, and gives a token that stands for it in searches."""
    if not request.headers.get("content-type", "").lower().startswith(FORM_TYPE):  # others are parsed slowly
      raise Refused(400, f"The request is no form ({FORM_TYPE}) with a file called `file`.")
    async with request.form(max_files=1, max_fields=0) as form:  # a form that is none is a 400
      file = form.get("file")
      content = await file.read() if isinstance(file, UploadFile) else None
    if content is None:
      raise Refused(400, "The request has no file called `file`.")
    if len(content) > MAX_BYTES:
      raise Refused(413, f"A file has at most {MAX_BYTES:,} bytes.")
    try:
      token = await run_in_threadpool(retrieval.receive, content)
    except Busy as error:
      raise Refused(503, str(error), ((b"retry-after", b"2"),)) from error
    except OSError as error:
      raise Refused(507, f"The server has no room for the file: {error.strerror}.") from error
    return Upload(upload=token, thumbnail=f"v1/uploads/{token}/thumbnail")

  @routes.get("/v1/uploads/{token}/thumbnail", response_class=fastapi.Response, responses={200: {"content": JPEG}})
  def thumbnail(token: Token, request: fastapi.Request) -> fastapi.Response:
    """The thumbnail of a picture that was sent."""
    return picture(request, retrieval.uploads.get(token).thumbnail, "image/jpeg", "private, max-age=600")

  return routes
