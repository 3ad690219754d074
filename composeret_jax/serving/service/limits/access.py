"""Access: API keys, and a number of requests a minute for each client."""

from collections.abc import Iterable
import hashlib
import http.cookies
import mmap
import os
import pathlib
import re
import secrets
import tempfile
import time
from typing import Any

from composeret_jax.serving.service.limits.refused import Refused

COOKIE = "composeret_key"
CLOSED = ("/v1/", "/metrics")
OPEN = ("/v1/health", "/v1/page", "/v1/page/logo", "/v1/openapi.json")
UNCOUNTED = re.compile(r"/v1/(health|page)|/metrics|/v1/images/.*/thumbnail$", re.DOTALL)  # a page shows a hundred
NUM_COUNTERS = 1 << 16
MINUTE = 60


class Counters:
  """How many requests each client has made in this minute; processes that have the same file share them.

  A client has one of NUM_COUNTERS places, by a hash that nobody outside knows: the minute, and the number in it, as
  two 32-bit numbers. Two processes that count at the same moment may lose one.
  """

  def __init__(self, file: pathlib.Path | None = None):
    """`file` is one that `make_counters` made; without one, nobody shares the counters."""
    with open(file, "r+b") if file else tempfile.TemporaryFile() as opened:
      if not file:
        opened.write(secrets.token_bytes(16) + bytes(8 * NUM_COUNTERS))
        opened.flush()
      self._bytes = mmap.mmap(opened.fileno(), 16 + 8 * NUM_COUNTERS)
    self._key = self._bytes[:16]
    self._places = memoryview(self._bytes)[16:].cast("I")

  def count(self, client: str) -> int:
    """The number of this request among the client's in this minute, from 1."""
    digest = hashlib.blake2b(client.encode("utf-8", "replace"), key=self._key, digest_size=4).digest()
    place = 2 * (int.from_bytes(digest, "big") % NUM_COUNTERS)
    minute = int(time.time() // MINUTE)
    number = self._places[place + 1] if self._places[place] == minute else 0
    self._places[place], self._places[place + 1] = minute, number + 1
    return number + 1


def make_counters(file: pathlib.Path) -> None:
  """A new file for Counters."""
  file.write_bytes(secrets.token_bytes(16) + bytes(8 * NUM_COUNTERS))
  os.chmod(file, 0o600)


class Access:
  """Keeps out who has none of the keys, where there are keys, and who has asked too often."""

  def __init__(self, keys: Iterable[str], rate_limit: int, counters: Counters):
    """`rate_limit` 0 lets everybody ask as often as they want."""
    self._digests = {_digest(key) for key in keys}
    self._rate_limit = rate_limit
    self._counters = counters

  def __call__(self, scope: Any) -> None:
    """Raises Refused: 401 for a missing or wrong key, 429 after too many requests in this minute."""
    path = path_in_service(scope)
    if not path.startswith(CLOSED):
      return
    key = key_of(scope)
    known = bool(self._digests) and _digest(key) in self._digests
    if self._rate_limit and not UNCOUNTED.match(path):
      client = scope["client"][0] if scope.get("client") else ""
      if self._counters.count(f"key {_digest(key)}" if known else f"address {client}") > self._rate_limit:
        wait = str(MINUTE - int(time.time()) % MINUTE).encode()
        message = f"A client has {self._rate_limit:,} requests a minute. Wait for the next minute."
        raise Refused(429, message, ((b"retry-after", wait),))
    if self._digests and not known and path not in OPEN:
      found = "This API key is not known" if key else "This service needs an API key"
      raise Refused(401, f"{found}: send one in the header X-API-Key.", ((b"www-authenticate", b"Bearer"),))


def path_in_service(scope: Any) -> str:
  """A request's path without the prefix under which a proxy shows the service."""
  prefix = scope.get("root_path", "")
  path = scope["path"]
  return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path


def key_of(scope: Any) -> str:
  """The key that a request brings: in X-API-Key, as a bearer's token, or in the cookie of `v1/session`; "" for none."""
  headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
  if key := headers.get(b"x-api-key"):
    return key
  kind, _, token = headers.get(b"authorization", "").partition(" ")
  if kind.lower() == "bearer":
    return token.strip()
  try:
    cookie = http.cookies.SimpleCookie(headers.get(b"cookie", "")).get(COOKIE)
  except http.cookies.CookieError:
    return ""
  return cookie.value if cookie else ""


def _digest(key: str) -> str:
  """Comparing these takes a time that says nothing about the keys."""
  return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
