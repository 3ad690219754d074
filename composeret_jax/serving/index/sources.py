"""The images that an index is built of."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import datetime
import decimal
import hashlib
import os
import pathlib
import re
import sys
from typing import Any

from composeret_jax.serving.index.columns import check_metadata, Value
from composeret_jax.serving.index.locations import MILVUS
from data_pipelines.datasets.annotations import check_inside, check_unicode, excerpt
from data_pipelines.datasets.catalogue.row_files import checked_rows, Columns, read_table
from data_pipelines.folders import list_files, normal_name
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import SUFFIXES

NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)  # 007 is a name


@dataclasses.dataclass(frozen=True)
class SourceImage:
  """An image to index; `read` gives its encoded bytes."""

  id: str
  caption: str
  path: str
  read: Callable[[], bytes]
  metadata: Mapping[str, Value] = dataclasses.field(default_factory=dict)


def folder_images(
  folder: str | os.PathLike[str], captions_file: pathlib.Path | None = None, metadata_file: pathlib.Path | None = None
) -> list[SourceImage]:
  """All images under a folder, by id: the path from there, as `list_files` finds and names them.

  Captions come from the file (CSV, JSON lines or Parquet with columns caption and id, or image), and for the others
  the name of the folder that the image is in, or in `folder` itself its own name. Metadata are all columns of their
  file beside id or image; its column caption stands for a file of captions. Prints how many files are left out.
  Raises InputError when there are no images, one cannot be found, or the captions are wrong or name others.
  """
  root = pathlib.Path(folder)
  if not root.is_dir():
    raise InputError(f"{folder} is no folder of images")
  listing = list_files(root, SUFFIXES)
  if note := listing.note(root):
    print(note, file=sys.stderr)
  files = listing.files
  if not files:
    raise InputError(f"{folder} has no images ({', '.join(SUFFIXES)})")
  captions = _read_captions(captions_file) if captions_file else {}
  metadata = read_metadata(metadata_file) if metadata_file else {}
  for file, what, rows in ((captions_file, "captions", captions), (metadata_file, "rows", metadata)):
    unknown = sorted(rows.keys() - files.keys())
    if unknown:
      raise InputError(f"{file} has {what} of {len(unknown):,} images that {folder} lacks: {unknown[0]}")
  for id, fields in metadata.items():
    if "caption" in fields:
      if captions_file:
        raise InputError(f"{metadata_file} has a column caption, and {captions_file} has captions: leave one out")
      captions[id] = str(fields.pop("caption"))
  paths = {id: pathlib.PurePosixPath(id) for id in files}
  captions = {id: path.parent.name or path.stem for id, path in paths.items()} | captions
  return [
    SourceImage(id, captions[id], str(file.absolute()), file.read_bytes, metadata.get(id, {}))
    for id, file in files.items()
  ]


def read_metadata(file: pathlib.Path) -> dict[str, dict[str, Value]]:
  """The fields of each image, from CSV, JSON lines or Parquet with a column id, or image; missing ones are left out.

  In a CSV file, a column but caption is of numbers where every field of it that is not blank is one. Raises InputError
  with the place of a row that cannot be used.
  """
  found, given = read_table(file)
  rows = list(given)
  key = "image" if "image" in found and "id" not in found else "id"
  if key not in found:
    raise InputError(f"{file}: no column id or image (found: {', '.join(map(str, found)) or 'nothing'})")
  names = [name for name in found if name != key]
  numbers = set()
  if file.suffix.lower() == ".csv":
    others = [name for name in names if name != "caption"]
    numbers = {name for name in others if all(NUMBER.fullmatch(row.fields[name]) for row in rows if row.fields[name])}
  metadata: dict[str, dict[str, Value]] = {}
  for where, fields in rows:
    if not isinstance(fields.get(key), str):
      raise InputError(f"{where}: {key} is {excerpt(fields.get(key))}, expected the name of an image")
    check_inside(fields[key], f"{where}: {key}")
    id = normal_name(fields[key])
    if id in metadata:
      raise InputError(f"{where}: {excerpt(id)} is listed twice: an image has one row")
    own = {name: _value(fields[name]) for name in names if fields.get(name) not in (None, "")}
    metadata[id] = {name: float(value) if name in numbers else value for name, value in own.items()}
    check_metadata(where, metadata[id])
    if not isinstance(own.get("caption", ""), str):
      raise InputError(f"{where}: caption is {excerpt(own['caption'])}, expected a text")
  return metadata


def _value(value: Any) -> Any:
  """Dates as ISO 8601 writes them, other decimals as floats."""
  if isinstance(value, datetime.date | datetime.time):
    return value.isoformat()
  return float(value) if isinstance(value, decimal.Decimal) else value


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
