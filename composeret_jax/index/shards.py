"""Several processes fill one index, each with its shard of the images."""

from collections.abc import Sequence
import hashlib
import re
from typing import NamedTuple

from composeret_jax.index.locations import MILVUS
from composeret_jax.index.sources import SourceImage
from data_pipelines.input_error import InputError


class Shard(NamedTuple):
  """The `number`-th of `count` shards, from 0."""

  number: int
  count: int

  def of(self, images: Sequence[SourceImage]) -> list[SourceImage]:
    """The images of this shard: by their ids, so that an image that comes or goes moves no other."""
    return [image for image in images if _number_of(image.id) % self.count == self.number]


def parse_shard(text: str) -> Shard:
  """ "1/4" as the second of four; raises InputError for anything else."""
  match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
  shard = Shard(*map(int, match.groups())) if match else None
  if shard is None or shard.number >= shard.count:
    raise InputError(f"--shard={text}, expected NUMBER/COUNT, from 0/4 to 3/4 for four processes")
  return shard


def check_shards(location: str, *, prune: bool) -> None:
  """Raises InputError where several processes cannot write the index, and for `prune`, which looks at all images."""
  if not location.startswith(MILVUS):
    raise InputError(f"--shard: one process writes the index at {location}, several need --index=milvus:...")
  if prune:
    raise InputError("--prune with --shard would remove the other shards' images: prune once, without --shard")


def _number_of(id: str) -> int:
  return int.from_bytes(hashlib.sha256(id.encode("utf-8", "surrogateescape")).digest()[:8], "big")
