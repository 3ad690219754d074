"""Which calls the page and its API answer: the function, and every value in it, before Gradio looks at them."""

from collections.abc import Mapping
import inspect
import math
import re
from typing import Any

from composeret_jax.serving.page.actions import MAX_TEXT, SEARCH_VALUES
from composeret_jax.serving.page.blocks import gr
from composeret_jax.serving.page.upload_folder import UploadFolder
from data_pipelines.input_error import InputError
from data_pipelines.untrusted_json import parse_json

MAX_VALUES = 20_000  # in one body


SESSION = re.compile(r"[\w-]{1,64}", re.ASCII)


# What Gradio's clients send; of a file more, all of which names the one file that was uploaded.
FIELDS = {"data", "event_data", "fn_index", "trigger_id", "session_hash"}


FILE_FIELDS = {"path", "url", "orig_name", "size", "mime_type", "is_stream", "meta"}


class UnknownFile(InputError):
  """A request names a file that nobody uploaded."""


def parse_body(body: bytes) -> dict[str, Any]:
  """A JSON object; raises InputError for anything else, for more than MAX_VALUES values and for what is no Unicode.

  Values are counted by their separators first: parsing millions of them takes gigabytes.
  """
  if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
    raise InputError(f"The request has more than {MAX_VALUES:,} values.")
  try:
    content = parse_json(body)
  except ValueError as error:
    raise InputError(f"The request is not JSON: {error}") from error
  if not isinstance(content, dict):
    raise InputError(f"The request is a {type(content).__name__}, expected an object with `data`.")
  left = [content]
  while left:
    value = left.pop()
    if isinstance(value, dict):
      left += [*value, *value.values()]
    elif isinstance(value, list):
      left += value
    elif isinstance(value, str):
      try:
        value.encode()
      except UnicodeEncodeError as error:
        raise InputError("A text in the request is not Unicode: it has half of a surrogate pair.") from error
  return content


class Calls:
  """The functions of a page: those that its events call by number, and the search that is its API."""

  def __init__(self, blocks: gr.Blocks, uploads: UploadFolder):
    """Files in a call have to be of `uploads`."""
    self._functions = {number: function for number, function in blocks.fns.items() if function.fn is not None}
    signatures = {number: inspect.signature(it.fn) for number, it in blocks.fns.items() if it.fn is not None}
    self._take_event = {
      number
      for number, signature in signatures.items()
      if any(parameter.annotation is gr.EventData for parameter in signature.parameters.values())
    }
    self._search = next(number for number, function in self._functions.items() if function.api_name == "search")
    self._parts = {blocks._id, *blocks.blocks}
    self._uploads = uploads

  def check_queued(self, content: Mapping[str, Any]) -> None:
    """Raises InputError unless it is the search, as Gradio's clients call it."""
    if content.get("fn_index") != self._search:
      raise InputError("Only the search can be called through the queue.")
    if content.get("session_hash") is None:
      raise InputError("`session_hash` is missing.")
    self._check_origin(content)
    check_search(content)

  def check_event(self, content: Mapping[str, Any]) -> None:
    """Raises InputError unless the page itself could make this call of one of its functions."""
    _check_fields(content)
    self._check_origin(content)
    number, data = content.get("fn_index"), content.get("data")
    if type(number) is not int or number not in self._functions or number == self._search:
      raise InputError(f"The page has no function {str(number)[:20]}.")
    function = self._functions[number]
    if not isinstance(data, list) or len(data) != len(function.inputs):
      raise InputError(f"Function {number} takes a list of {len(function.inputs)} values as `data`.")
    for component, value in zip(function.inputs, data, strict=True):
      if not self._fits(component, value):
        raise InputError(f"Function {number} cannot take {str(value)[:50]} as {type(component).__name__}.")
    if number in self._take_event and not _is_event(content.get("event_data")):
      raise InputError(f"Function {number} takes an object with a `value` as `event_data`.")

  def _check_origin(self, content: Mapping[str, Any]) -> None:
    session, trigger = content.get("session_hash"), content.get("trigger_id")
    if session is not None and not (isinstance(session, str) and SESSION.fullmatch(session)):
      raise InputError("`session_hash` is no name of at most 64 letters and digits.")
    if trigger is not None and not (type(trigger) is int and trigger in self._parts):
      raise InputError(f"The page has no part {str(trigger)[:20]} as `trigger_id`.")

  def _fits(self, component: gr.blocks.Block, value: Any) -> bool:
    if isinstance(component, gr.Slider):
      return type(value) in (int, float) and component.minimum <= value <= component.maximum
    if isinstance(component, gr.Textbox):
      return value is None or (isinstance(value, str) and len(value) <= MAX_TEXT)
    if isinstance(component, gr.File):
      return value is None or self._is_file(value)
    return value is None  # a state, which the server keeps

  def _is_file(self, value: Any) -> bool:
    if not isinstance(value, dict) or not value.keys() <= FILE_FIELDS or not self._uploads.holds(value.get("path")):
      raise UnknownFile("The request names a file that nobody uploaded.")
    texts = [value.get(name) for name in ("url", "orig_name", "mime_type")]
    size, stream = value.get("size"), value.get("is_stream")
    return (
      all(text is None or isinstance(text, str) for text in texts)
      and (size is None or (type(size) in (int, float) and 0 <= size < math.inf))
      and stream in (None, False)
      and value.get("meta") == {"_type": "gradio.FileData"}
    )


def check_search(content: Mapping[str, Any], by_name: bool = False) -> dict[str, Any]:
  """The search's values by name; raises InputError unless they are a list in `data`, or fields of their own."""
  if not by_name:
    _check_fields(content)
    data = content.get("data")
    if not isinstance(data, list) or len(data) != len(SEARCH_VALUES):
      found = f"{len(data)} values" if isinstance(data, list) else "no list"
      raise InputError(f"`data` has {found}, expected {len(SEARCH_VALUES)}: {', '.join(SEARCH_VALUES)}.")
    content = dict(zip(SEARCH_VALUES, data, strict=True))
  if unknown := content.keys() - SEARCH_VALUES.keys():
    raise InputError(f"The search has no values {', '.join(sorted(unknown))[:100]}; it has {', '.join(SEARCH_VALUES)}.")
  for name, value in content.items():
    if type(value) not in SEARCH_VALUES[name]:
      expected = {str: "text", list: "list", int: "number"}[SEARCH_VALUES[name][0]]
      raise InputError(f"`{name}` is a {type(value).__name__}, expected a {expected}.")
    if isinstance(value, list) and not all(isinstance(text, str) for text in value):
      raise InputError(f"`{name}` has items that are no text.")
  return dict(content)


def _check_fields(content: Mapping[str, Any]) -> None:
  if unknown := content.keys() - FIELDS:
    raise InputError(f"The request has unknown fields: {', '.join(sorted(unknown))[:100]}.")


def _is_event(event: Any) -> bool:
  """Its value is looked at by the function."""
  if not isinstance(event, dict) or event.keys() != {"value"}:
    return False
  value = event["value"]
  return (isinstance(value, str) and len(value) <= MAX_TEXT) or type(value) in (int, float)
