"""Rows of an index that were written together: a folder of four files, whole or not there, never changed."""

from collections.abc import Iterable, Sequence
import dataclasses
import json
import os
import pathlib
import shutil

import numpy as np

from composeret_jax.index.manifest import SegmentInfo, sync_folder, write_durably
from composeret_jax.index.rows import Entry, Rows
from data_pipelines.input_error import InputError
from data_pipelines.untrusted_json import is_count, parse_json

FEATURES = "features.f32"  # little-endian float32, row by row, nothing else
NORMS = "norms.f32"
ENTRIES = "entries.jsonl"
THUMBNAILS = "thumbnails.bin"  # JPEGs one after the other; ENTRIES says where each ends
FLOAT = np.dtype("<f4")
MAX_LINE = 1_000_000  # of ENTRIES


@dataclasses.dataclass(frozen=True)
class Segment:
  """An open segment; features, norms and thumbnails are read from the disk where they are touched."""

  entries: tuple[Entry, ...]
  features: np.ndarray
  norms: np.ndarray
  _thumbnails: np.ndarray
  _ends: tuple[int, ...]

  def thumbnail(self, row: int) -> bytes:
    """A row's JPEG."""
    start = self._ends[row - 1] if row else 0
    return self._thumbnails[start : self._ends[row]].tobytes()


def write_segment(folder: pathlib.Path, name: str, rows: Rows) -> SegmentInfo:
  """Writes a segment under a hidden name, waits for the disk, and gives it its name."""
  partial, final = folder / f".{name}.partial", folder / name
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir()
  contents = {
    FEATURES: rows.features.astype(FLOAT).tobytes(),
    NORMS: rows.norms.astype(FLOAT).tobytes(),
    ENTRIES: "".join(_lines(rows)).encode(),
    THUMBNAILS: b"".join(rows.thumbnails),
  }
  for file, content in contents.items():
    write_durably(partial / file, content)
  sync_folder(partial)
  os.rename(partial, final)
  sync_folder(folder)
  return SegmentInfo(name, len(rows), {file: len(content) for file, content in contents.items()})


def open_segment(folder: pathlib.Path, info: SegmentInfo, feature_dim: int) -> Segment:
  """Raises InputError with the file when one is missing, a link, or not of the size that the manifest says."""
  row_bytes = {FEATURES: feature_dim * FLOAT.itemsize, NORMS: FLOAT.itemsize}
  expected = info.sizes | {name: info.rows * size for name, size in row_bytes.items()}
  files = {name: folder / info.name / name for name in (FEATURES, NORMS, ENTRIES, THUMBNAILS)}
  if (folder / info.name).is_symlink():
    raise InputError(f"{folder / info.name} is a link: the segments of an index are in its folder")
  for name, file in files.items():
    _check_size(file, expected.get(name))
  entries, ends = _read_entries(files[ENTRIES], info.rows, expected[THUMBNAILS])
  norms = np.memmap(files[NORMS], FLOAT, "r", shape=(info.rows,))
  if not np.isfinite(norms).all() or norms.min() < 0:
    raise InputError(f"{files[NORMS]} has lengths that are negative or not finite")
  return Segment(
    entries,
    np.memmap(files[FEATURES], FLOAT, "r", shape=(info.rows, feature_dim)),
    norms,
    np.memmap(files[THUMBNAILS], np.uint8, "r") if expected[THUMBNAILS] else np.zeros(0, np.uint8),
    ends,
  )


def _lines(rows: Rows) -> Iterable[str]:
  end = 0
  for entry, thumbnail in zip(rows.entries, rows.thumbnails, strict=True):
    end += len(thumbnail)
    yield json.dumps(dataclasses.asdict(entry) | {"thumbnail_end": end}) + "\n"


def _check_size(file: pathlib.Path, expected: int | None) -> None:
  if file.is_symlink() or not file.is_file():
    raise InputError(f"{file} is missing, or a link: the index is not whole")
  if file.stat().st_size != expected:
    raise InputError(f"{file} has {file.stat().st_size:,} bytes, expected {expected}: it is not what was written")


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
  if not expected or not all(isinstance(value, str) for value in vars(entry).values()):
    raise ValueError(f"entry {len(ends) - 1} is one too many, or has fields that are no text")
  if not is_count(ends[-1], ends[-2], 2**63):
    raise ValueError(f"the thumbnail of entry {len(ends) - 1} ends at {str(ends[-1])[:20]}, before it begins")
