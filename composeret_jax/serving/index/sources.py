"""The images that an index is built of."""

from collections.abc import Callable, Sequence
import dataclasses
import hashlib
import pathlib
import re
import sys

from composeret_jax.serving.index.locations import MILVUS
from data_pipelines.datasets.annotations import check_inside, check_unicode, excerpt
from data_pipelines.datasets.catalogue.row_files import checked_rows, Columns, read_table
from data_pipelines.folders import list_files, normal_name
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import SUFFIXES


@dataclasses.dataclass(frozen=True)
class SourceImage:
  """An image to index; `read` gives its encoded bytes."""

  id: str
  caption: str
  path: str
  read: Callable[[], bytes]


def folder_images(folder: pathlib.Path, captions_file: pathlib.Path | None = None) -> list[SourceImage]:
  """All images under a folder, by id: the path from there, as `list_files` finds and names them.

  Captions are those of the file (CSV, JSON lines or Parquet with columns caption and id, or image), and for the others
  the name of the folder that the image is in, or in `folder` itself its own name. Prints how many files are left out.
  Raises InputError when there are no images, one cannot be found, or the captions are wrong or name others.
  """
  if not folder.is_dir():
    raise InputError(f"{folder} is no folder of images")
  listing = list_files(folder, SUFFIXES)
  if note := listing.note(folder):
    print(note, file=sys.stderr)
  files = listing.files
  if not files:
    raise InputError(f"{folder} has no images ({', '.join(SUFFIXES)})")
  captions = _read_captions(captions_file) if captions_file else {}
  unknown = sorted(captions.keys() - files.keys())
  if unknown:
    raise InputError(f"{captions_file} has captions of {len(unknown):,} images that {folder} lacks: {unknown[0]}")
  paths = {id: pathlib.PurePosixPath(id) for id in files}
  captions = {id: path.parent.name or path.stem for id, path in paths.items()} | captions
  return [SourceImage(id, captions[id], str(file.absolute()), file.read_bytes) for id, file in files.items()]


def _read_captions(file: pathlib.Path) -> dict[str, str]:
  found, rows = read_table(file)
  column = "image" if "image" in found and "id" not in found else "id"
  captions = {}
  for where, fields in checked_rows(str(file), found, rows, Columns((column, "caption"), ())):
    check_inside(fields[column], f"{where}: {column}")
    check_unicode(fields["caption"], f"{where}: caption")
    id = normal_name(fields[column])
    if id in captions:
      raise InputError(f"{where}: {excerpt(id)} is listed twice: an image has one caption")
    captions[id] = fields["caption"]
  return captions


@dataclasses.dataclass(frozen=True)
class Shard:
  """The `number`-th of `count` shards, from 0."""

  number: int
  count: int

  def of(self, images: Sequence[SourceImage]) -> list[SourceImage]:
    """The images of this shard: by their ids, so that an image that comes or goes moves no other."""
    digests = [hashlib.sha256(image.id.encode("utf-8", "surrogateescape")).digest() for image in images]
    numbers = [int.from_bytes(digest[:8], "big") % self.count for digest in digests]
    return [image for image, number in zip(images, numbers, strict=True) if number == self.number]


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
