"""Answers to mistakes: a reason for each, and no traceback."""

import fastapi
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from composeret_jax.serving.service.limits.refused import Refused
from composeret_jax.serving.service.limits.upload_folder import Expired
from composeret_jax.serving.service.messages import Problem
from composeret_jax.serving.service.retrieval import Missing, public_message
from data_pipelines.input_error import InputError

PROBLEMS: dict[int | str, dict] = {"4XX": {"model": Problem}, "5XX": {"model": Problem}}


def answer_mistakes(app: fastapi.FastAPI) -> None:
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
