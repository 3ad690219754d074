"""How images are named outside: ids that can be sent, and the addresses of their pictures."""

import hashlib
import re
from urllib.parse import quote

from composeret_jax.serving.searcher import Result
from composeret_jax.serving.service.messages import Details, Found, Item

ESCAPED_BYTE = re.compile(r"\\udc([89a-f][0-9a-f])")


def printable(text: str) -> str:
  """Text that can be sent: of a file's name that is not UTF-8, the bytes that are none are shown escaped."""
  return text.encode("utf-8", "backslashreplace").decode()


def as_id(shown: str) -> str:
  """The id that `printable` shows so."""
  return ESCAPED_BYTE.sub(lambda match: chr(0xDC00 + int(match[1], 16)), shown)


def thumbnail_version(jpeg: bytes) -> str:
  """Changes with the thumbnail: an address that has it can be kept for ever."""
  return hashlib.blake2b(jpeg, digest_size=8).hexdigest()


def item(result: Result) -> Item:
  """An image, as answers have it."""
  return Item(**_fields(result))


def found_item(result: Result) -> Found:
  """An image with its score."""
  return Found(**_fields(result), score=result.score)


def details(result: Result) -> Details:
  """An image with the address of its picture, and of its page elsewhere."""
  fields = _fields(result)
  url = fields["metadata"].get("url")
  safe = isinstance(url, str) and url.startswith(("https://", "http://", "/"))  # no script in a link
  return Details(**fields, url=url if safe else None, image=f"v1/images/{_quoted(result.id)}")


def _fields(result: Result) -> dict:
  thumbnail = f"v1/images/{_quoted(result.id)}/thumbnail?v={thumbnail_version(result.thumbnail)}"
  caption = printable(result.caption)
  return {"id": printable(result.id), "caption": caption, "metadata": dict(result.metadata), "thumbnail": thumbnail}


def _quoted(id: str) -> str:
  return quote(printable(id), safe="/")
