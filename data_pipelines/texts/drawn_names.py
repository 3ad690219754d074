"""Names drawn by a hash: as if at random, but always the same, whatever other names there are."""

import hashlib


def drawn(name: str, share: float) -> bool:
  """Whether `name` is among the `share` of all names; always the same for the same name."""
  return number_of(name) < share * 2**64


def number_of(name: str) -> int:
  """A number of 64 bits, as if drawn at random, but the same for the same name."""
  return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
