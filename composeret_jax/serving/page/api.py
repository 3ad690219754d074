"""The two addresses that we answer ourselves, in place of Gradio: the search for scripts, and uploads."""

import fastapi
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile

from composeret_jax.serving.page.actions import Page, public_message
from composeret_jax.serving.page.calls import check_search
from composeret_jax.serving.page.guard import SEARCH, UPLOAD
from composeret_jax.serving.page.upload_folder import UploadFolder
from composeret_jax.serving.page.uploads import Busy, MAX_BYTES
from data_pipelines.input_error import InputError


def add_api(app: fastapi.FastAPI, page: Page, uploads: UploadFolder) -> None:
  """Answers them before Gradio would. Requests have passed the guard."""

  @app.post(SEARCH)
  async def search(request: fastapi.Request) -> JSONResponse:
    values = check_search(await request.json())
    try:
      found = await run_in_threadpool(page.search, **values)
      unknown = page.searcher.unknown_words(values["texts"] or [])
      return JSONResponse({"data": [found], "unknown_words": unknown})
    except InputError as error:
      return JSONResponse({"error": public_message(error)}, 503 if isinstance(error, Busy) else 400)

  @app.post(UPLOAD)
  async def upload(request: fastapi.Request) -> JSONResponse:
    """Gives the path of the one file, as Gradio does: the page calls a function with it."""
    async with request.form(max_files=1, max_fields=0) as form:  # a form that is none is a 400
      file = form.get("files")
      content = await file.read() if isinstance(file, UploadFile) else None
    if content is None:
      return JSONResponse({"error": "The request has no file called `files`."}, 400)
    if len(content) > MAX_BYTES:
      return JSONResponse({"error": f"A file has at most {MAX_BYTES:,} bytes."}, 413)
    try:
      return JSONResponse([str(await run_in_threadpool(uploads.keep, content))])
    except OSError as error:
      return JSONResponse({"error": f"The server has no room for the file: {error.strerror}."}, 507)
