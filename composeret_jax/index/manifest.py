"""The one small file that says which rows an index has. Replacing it is what makes a change of the index happen."""

import dataclasses
import json
import os
import pathlib
import re
from typing import Any

from data_pipelines.input_error import InputError
from data_pipelines.untrusted_json import is_count, read_json

FORMAT_VERSION = 1  # a new number whenever a program that reads the old one would go wrong

MANIFEST = "index.json"
SEGMENT = re.compile(r"segment-\d{8}", re.ASCII)
MOST_SEGMENTS = 10**8 - 1


@dataclasses.dataclass(frozen=True)
class SegmentInfo:
  """A segment's folder, how many rows are in it, the bytes of its files, and which rows are no longer in the index."""

  name: str
  rows: int
  sizes: dict[str, int]
  dead: tuple[int, ...] = ()

  @property
  def live(self) -> int:
    """How many of its rows are in the index."""
    return self.rows - len(self.dead)


@dataclasses.dataclass(frozen=True)
class Manifest:
  """Whose features the index holds, and where; segments in the order in which they were written.

  `num_written` counts all that ever were: no name is used for two segments.
  """

  fingerprint: str
  feature_dim: int
  num_written: int = 0
  segments: tuple[SegmentInfo, ...] = ()


def read_manifest(folder: pathlib.Path) -> Manifest:
  """Raises InputError when `folder` is no index that we can read, or names something outside it."""
  file = folder / MANIFEST
  if not file.is_file():
    raise InputError(f"{folder} is no index: it has no {MANIFEST}")
  fields = read_json(file)
  try:
    version = fields.pop("format_version")
    if version != FORMAT_VERSION:
      raise InputError(f"{file} has format version {str(version)[:20]}, this program reads {FORMAT_VERSION}")
    segments = tuple(_segment_info(info) for info in fields.pop("segments"))
    manifest = Manifest(**fields, segments=segments)
    _require(isinstance(manifest.fingerprint, str), "fingerprint")
    _require(is_count(manifest.feature_dim, 1), "feature_dim")
    _require(is_count(manifest.num_written, len(segments), MOST_SEGMENTS), "num_written")
    _require(len({info.name for info in segments}) == len(segments), "names of segments")
  except InputError:
    raise
  except (ValueError, TypeError, KeyError, AttributeError) as error:
    raise InputError(f"{file} is no description of an index ({str(error)[:200]})") from error
  return manifest


def write_manifest(folder: pathlib.Path, manifest: Manifest) -> None:
  """Replaces the manifest, on the disk too; killed at any moment, it is the old one or the new one."""
  partial = folder / f".{MANIFEST}.partial"
  fields = {"format_version": FORMAT_VERSION} | dataclasses.asdict(manifest)
  write_durably(partial, json.dumps(fields).encode())
  os.replace(partial, folder / MANIFEST)
  sync_folder(folder)


def write_durably(file: pathlib.Path, content: bytes) -> None:
  """Writes a file, and waits until it is on the disk."""
  with file.open("wb") as stream:
    stream.write(content)
    stream.flush()
    os.fsync(stream.fileno())


def sync_folder(folder: pathlib.Path) -> None:
  """Waits until the names in a folder are on the disk."""
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def _segment_info(fields: dict[str, Any]) -> SegmentInfo:
  info = SegmentInfo(**fields | {"dead": tuple(fields["dead"])})
  _require(isinstance(info.name, str) and SEGMENT.fullmatch(info.name), f"name of a segment: {str(info.name)[:50]!r}")
  _require(is_count(info.rows, 1), f"rows of {info.name}")
  _require(all(is_count(size, most=2**63) for size in info.sizes.values()), f"sizes of {info.name}")
  known = all(is_count(row) and row < info.rows for row in info.dead)
  _require(known and len(set(info.dead)) == len(info.dead), f"dead rows of {info.name}")
  return info


def _require(fine: Any, what: str) -> None:
  if not fine:
    raise ValueError(f"wrong {what}")
