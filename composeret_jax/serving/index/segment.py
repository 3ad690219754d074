"""Rows of an index that were written together: a folder of four files, whole or not there, never changed."""

from collections.abc import Mapping, Sequence
import dataclasses
import json
import pathlib
import re
from typing import Any

import numpy as np

from composeret_jax.serving.index.columns import check_metadata
from composeret_jax.serving.index.index import Entry, Rows
from data_pipelines.files import replaced, write_whole
from data_pipelines.input_error import InputError
from data_pipelines.untrusted_json import is_count, parse_json, read_json

FORMAT_VERSION = 1  # a new number whenever a program that reads the old one would go wrong
MANIFEST = "index.json"
SEGMENT = re.compile(r"segment-\d{8}", re.ASCII)
COPIES = "quantised.json"  # describes the 8-bit copies of the features, where there are any
MOST_SEGMENTS = 10**8 - 1


class OutOfDate(InputError):
  """Copies are of segments that are gone."""


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
  fields = {"format_version": FORMAT_VERSION} | dataclasses.asdict(manifest)
  write_whole(folder / MANIFEST, json.dumps(fields))


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


FEATURES = "features.f32"  # little-endian float32, row by row, nothing else
NORMS = "norms.f32"
ENTRIES = "entries.jsonl"
THUMBNAILS = "thumbnails.bin"  # JPEGs one after the other; ENTRIES says where each ends
FLOAT = np.dtype("<f4")
MAX_LINE = 1_000_000  # of ENTRIES


@dataclasses.dataclass(frozen=True)
class Segment:
  """An open segment; features and thumbnails are read from the disk where they are touched.

  Their files are mapped, so that an index that another process has replaced stays readable. Touching a mapped file that
  is shorter by now would end the process: sizes are checked before each read.
  """

  entries: tuple[Entry, ...]
  norms: np.ndarray
  _files: Mapping[str, pathlib.Path]
  _features: np.ndarray
  _thumbnails: np.ndarray
  _ends: tuple[int, ...]

  @property
  def dim(self) -> int:
    """The width of the features."""
    return self._features.shape[1]

  def features(self, rows: np.ndarray | Sequence[int]) -> np.ndarray:
    """float32 [len(rows), dim]; raises InputError with the file when it was changed."""
    self.check_features()
    return self._features[np.asarray(rows, np.intp)]

  @property
  def mapped_features(self) -> np.ndarray:
    """All features, float32 [num, dim], where they are mapped: `check_features` comes before each use."""
    return self._features

  def check_features(self) -> None:
    """Raises InputError with the file of the features when it was changed."""
    _check_unchanged(self._files[FEATURES], self._features.nbytes)

  def thumbnail(self, row: int) -> bytes:
    """A row's JPEG; raises InputError with the file when it was changed."""
    _check_unchanged(self._files[THUMBNAILS], len(self._thumbnails))
    start = self._ends[row - 1] if row else 0
    return self._thumbnails[start : self._ends[row]].tobytes()


def write_segment(folder: pathlib.Path, name: str, rows: Rows) -> SegmentInfo:
  """Writes a segment, whole or not at all."""
  lines, end = [], 0
  for entry, thumbnail in zip(rows.entries, rows.thumbnails, strict=True):
    end += len(thumbnail)
    fields = vars(entry) | {"thumbnail_end": end}
    if not entry.metadata:
      del fields["metadata"]  # programs that do not know them can read the index then
    lines.append(json.dumps(fields) + "\n")
  contents = {
    FEATURES: rows.features.astype(FLOAT).tobytes(),
    NORMS: rows.norms.astype(FLOAT).tobytes(),
    ENTRIES: "".join(lines).encode(),
    THUMBNAILS: b"".join(rows.thumbnails),
  }
  with replaced(folder / name) as partial:
    for file, content in contents.items():
      (partial / file).write_bytes(content)
  return SegmentInfo(name, len(rows), {file: len(content) for file, content in contents.items()})


def open_segment(folder: pathlib.Path, info: SegmentInfo, feature_dim: int) -> Segment:
  """Raises InputError with the file when one is missing, a link, or not of the size that the manifest says."""
  row_bytes = {FEATURES: feature_dim * FLOAT.itemsize, NORMS: FLOAT.itemsize}
  expected = info.sizes | {name: info.rows * size for name, size in row_bytes.items()}
  files = {name: folder / info.name / name for name in (FEATURES, NORMS, ENTRIES, THUMBNAILS)}
  if (folder / info.name).is_symlink():
    raise InputError(f"{folder / info.name} is a link: the segments of an index are in its folder")
  for name, file in files.items():
    if file.is_symlink() or not file.is_file():
      raise InputError(f"{file} is missing, or a link: the index is not whole")
    size = file.stat().st_size
    if size != expected.get(name):
      raise InputError(f"{file} has {size:,} bytes, expected {expected.get(name)}: it is not what was written")
  entries, ends = _read_entries(files[ENTRIES], info.rows, expected[THUMBNAILS])
  norms = np.fromfile(files[NORMS], FLOAT, info.rows)
  if not np.isfinite(norms).all() or norms.min() < 0:
    raise InputError(f"{files[NORMS]} has lengths that are negative or not finite")
  return Segment(
    entries,
    norms,
    files,
    np.memmap(files[FEATURES], FLOAT, "r", shape=(info.rows, feature_dim)),
    np.memmap(files[THUMBNAILS], np.uint8, "r") if expected[THUMBNAILS] else np.zeros(0, np.uint8),
    ends,
  )


def _check_unchanged(file: pathlib.Path, expected: int) -> None:
  """A file that is gone is fine: a writer has replaced the segment, and what was mapped stays."""
  try:
    size = file.stat().st_size
  except FileNotFoundError:
    return
  if size != expected:
    raise InputError(f"{file} has {size:,} bytes, expected {expected:,}: it was changed while it was in use")


def _read_entries(file: pathlib.Path, num: int, num_thumbnail_bytes: int) -> tuple[tuple[Entry, ...], tuple[int, ...]]:
  """Line by line: what the file claims to hold takes no memory before it is there."""
  entries, ends = [], [0]
  try:
    with file.open("rb") as stream:
      for line in iter(lambda: stream.readline(MAX_LINE), b""):
        fields = parse_json(line)
        ends.append(fields.pop("thumbnail_end"))
        entries.append(Entry(**fields))
        _check_line(entries[-1], ends, len(entries) <= num)
    if len(entries) != num or ends[-1] != num_thumbnail_bytes:
      raise ValueError(f"{len(entries)} entries, expected {num} with thumbnails up to byte {num_thumbnail_bytes}")
  except (ValueError, TypeError, KeyError, AttributeError) as error:
    raise InputError(f"{file} does not describe the segment's images ({str(error)[:200]})") from error
  return tuple(entries), tuple(ends[1:])


def _check_line(entry: Entry, ends: Sequence[int], expected: bool) -> None:
  check_metadata(f"entry {len(ends) - 1}", entry.metadata)
  texts = (entry.id, entry.sha256, entry.caption, entry.path)
  if not expected or not all(isinstance(value, str) for value in texts):
    raise ValueError(f"entry {len(ends) - 1} is one too many, or has fields that are no text")
  if not is_count(ends[-1], ends[-2], 2**63):
    raise ValueError(f"the thumbnail of entry {len(ends) - 1} ends at {str(ends[-1])[:20]}, before it begins")
