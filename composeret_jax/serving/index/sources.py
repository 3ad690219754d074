"""The images that an index is built of."""

from collections.abc import Callable, Sequence
import csv
import dataclasses
import hashlib
import pathlib
import re
from typing import NamedTuple

from composeret_jax.serving.index.locations import MILVUS
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import image_names, SUFFIXES


@dataclasses.dataclass(frozen=True)
class SourceImage:
  """An image to index; `read` gives its encoded bytes."""

  id: str
  caption: str
  path: str
  read: Callable[[], bytes]


def folder_images(folder: pathlib.Path, captions_file: pathlib.Path | None = None) -> list[SourceImage]:
  """All images under a folder, by id: the path from there, with forward slashes. Hidden files are left out.

  Captions are those of the file (CSV with columns caption and id, or image), and for the others the name of the folder
  that the image is in, or in `folder` itself its own name. Raises InputError when there are no images or the captions
  name others.
  """
  if not folder.is_dir():
    raise InputError(f"{folder} is no folder of images")
  files = {name: (folder / name).absolute() for name in image_names(folder)}
  if not files:
    raise InputError(f"{folder} has no images ({', '.join(SUFFIXES)})")
  captions = _read_captions(captions_file) if captions_file else {}
  unknown = sorted(captions.keys() - files.keys())
  if unknown:
    raise InputError(f"{captions_file} has captions of {len(unknown):,} images that {folder} lacks: {unknown[0]}")
  return [
    SourceImage(id, captions.get(id, _default_caption(id)), str(file), file.read_bytes) for id, file in files.items()
  ]


def _default_caption(id: str) -> str:
  path = pathlib.PurePosixPath(id)
  return path.parent.name or path.stem


def _read_captions(file: pathlib.Path) -> dict[str, str]:
  try:
    with file.open(newline="", encoding="utf-8-sig") as stream:
      rows = csv.DictReader(stream)
      id = next((name for name in ("id", "image") if name in (rows.fieldnames or ())), None)
      if id is None or "caption" not in rows.fieldnames:
        raise InputError(f"{file} has columns {rows.fieldnames}, expected id (or image) and caption")
      return {row[id]: row["caption"] or "" for row in rows}
  except (OSError, UnicodeDecodeError, csv.Error) as error:
    raise InputError(f"{file} cannot be read as CSV: {error}") from error


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
