"""An index in a folder, searched exactly: segments, only ever added and dropped, and a manifest that names them.

Killed at any moment, the folder is the index before the change or after it; what a killed change left behind is
removed by the next one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import functools
import pathlib
import shutil
import threading
from typing import Any

import jax
import numpy as np

from composeret_jax.serving.index.columns import ColumnInfo, Columns, Filters
from composeret_jax.serving.index.index import check_queries, Entry, LARGEST, Rows
from composeret_jax.serving.index.nearest import Nearest, NearestInFiles
from composeret_jax.serving.index.segment import (
  COPIES,
  MANIFEST,
  Manifest,
  open_segment,
  OutOfDate,
  read_manifest,
  Segment,
  SegmentInfo,
  write_manifest,
  write_segment,
)
from composeret_jax.serving.index.words import CaptionWords, spread
from data_pipelines.files import partial_name
from data_pipelines.input_error import InputError

LOCK = ".lock"
MERGED_ROWS = 4096  # small segments are merged to about as many rows
ROWS_AT_ONCE = 8192  # that are looked at when an index is opened
QUERIES = 100  # by which recall is measured
SMALL_ROWS = MERGED_ROWS // 2


Place = tuple[str, int]  # a segment's name and a row in it


class ExactIndex:
  """An Index in a folder. Memory holds what is known of each image; features and thumbnails stay in files that are
  mapped. On a GPU or TPU, searches keep features on the device (nearest.py).
  """

  def __init__(self, folder: pathlib.Path, lock: Any = None, opened: Mapping[str, Segment] | None = None):
    """`open` and `create` make one; `lock` is what keeps others out while this one writes, with a method `release`.

    Segments of `opened`, by their names, are not opened again: they never change.
    """
    self._folder = folder
    self._lock = lock
    self._stamp = _stamp(folder)
    self.generation = max(self._stamp[0], self._stamp[3])
    self._manifest = read_manifest(folder)
    opened = opened or {}
    self.fingerprint, self.feature_dim = self._manifest.fingerprint, self._manifest.feature_dim
    infos = self._manifest.segments
    self._segments = {
      info.name: opened.get(info.name) or open_segment(folder, info, self.feature_dim) for info in infos
    }
    self._places: dict[str, Place] = {}
    for name, row in ((info.name, row) for info in infos for row in _live_rows(info)):
      id = self._segments[name].entries[row].id
      if id in self._places:
        raise InputError(f"{folder / name} has {id!r}, which another segment has too")
      self._places[id] = name, row
    self._searching = threading.Lock()

  @classmethod
  def open(cls, folder: pathlib.Path, opened: Mapping[str, Segment] | None = None) -> "ExactIndex":
    """To read, while another process may write.

    Raises InputError when there is no index, or a part of it is missing or of the wrong size.
    """
    while True:
      before = read_manifest(folder)
      try:
        return cls(folder, opened=opened)
      except (InputError, OSError) as error:
        if read_manifest(folder) != before:  # its writer has removed what `before` names
          continue
        if isinstance(error, OSError):
          raise InputError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
        raise

  @classmethod
  def create(cls, folder: pathlib.Path, fingerprint: str, feature_dim: int) -> "ExactIndex":
    """To write; begins an empty one where there is none. Raises InputError when another process is writing."""
    _check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    from data_pipelines.locks import take_lock  # its package is only needed to write

    lock = take_lock(folder / LOCK, f"{folder} is being written by another process")
    try:
      if not (folder / MANIFEST).exists():
        write_manifest(folder, Manifest(fingerprint, feature_dim))
      index = cls(folder, lock)
      for path in [*folder.glob("segment-*"), *folder.glob(".segment-*.partial*")]:
        if path.name not in index._segments:  # a killed change has left it behind
          shutil.rmtree(path)
    except BaseException:
      lock.release()
      raise
    return index

  def __len__(self) -> int:
    return len(self._places)

  def __contains__(self, id: str) -> bool:
    return id in self._places

  def entries(self) -> Mapping[str, Entry]:
    """All images by id."""
    return {id: self._segments[name].entries[row] for id, (name, row) in self._places.items()}

  def put(self, rows: Rows) -> None:
    """Adds images, in place of those with the same ids: all of them or, when killed, none."""
    self._check_writing()
    rows.check(self.feature_dim)
    if len(rows):
      replaced = [self._places[entry.id] for entry in rows.entries if entry.id in self._places]
      self._append(_with_dead(self._manifest.segments, replaced), rows)

  def delete(self, ids: Sequence[str]) -> None:
    """Removes images; raises InputError with the ids that are not there, and then removes none."""
    self._check_writing()
    ids = list(dict.fromkeys(ids))
    self._commit(_with_dead(self._manifest.segments, self._find(ids)), {})
    for id in ids:
      del self._places[id]

  def get(self, ids: Sequence[str]) -> Rows:
    """The rows of these images, in this order; raises InputError with the ids that are not there."""
    return self._rows(self._find(ids))

  def newest(self) -> "ExactIndex":
    """The folder's present index; the parts that both have stay open."""
    if self._lock is not None or _stamp(self._folder) == self._stamp:
      return self
    return self.open(self._folder, self._segments)

  def columns(self) -> list[ColumnInfo]:
    """The columns of the images' metadata."""
    return self._columns.described()

  def find(self, words: str, limit: int, filters: Filters = ()) -> list[str]:
    """Ids of images that have every one of the words, in any case, in their caption or id; spread over all that do."""
    rows = self._words.find(words)
    rows = np.arange(len(self._ids)) if rows is None else rows
    if filters:
      rows = rows[self._columns.mask(filters)[rows]]
    step = max(1, len(rows) // limit)
    return [self._ids[row] for row in rows[::step][:limit]]

  def unfound(self, words: str) -> dict[str, str | None]:
    """The words that no image has in its caption or id, each with the most similar one that there is."""
    return self._words.unfound(words)

  def browse(self, limit: int, offset: int = 0, filters: Filters = ()) -> list[str]:
    """Ids in a fixed order that is spread over the index."""
    ids = self._ids
    if filters:
      ids = [ids[row] for row in np.flatnonzero(self._columns.mask(filters))]
    return spread(ids, limit, offset)

  def search(self, queries: np.ndarray, k: int, filters: Filters = ()) -> list[list[tuple[str, float]]]:
    """For each query the ids and inner products of the `k` images with the largest, best first, ties by id."""
    check_queries(queries)
    allowed = self._columns.mask(filters) if filters else None
    if not self._places or not len(queries) or (allowed is not None and not allowed.any()):
      return [[] for _ in queries]
    with self._searching:
      ids, nearest = self._ids, self._quantised or self._nearest
    scores, rows = nearest(queries, k, allowed)
    return [
      [(ids[row], float(score)) for row, score in zip(*found, strict=True)] for found in zip(rows, scores, strict=True)
    ]

  def close(self) -> None:
    """Merges small segments, so that there are few, and lets others write."""
    if self._lock is not None:
      self.tidy()
      self._lock.release()
      self._lock = None

  @functools.cached_property
  def _ids(self) -> list[str]:
    """All ids in order."""
    return sorted(self._places)

  @functools.cached_property
  def _nearest(self) -> Nearest | NearestInFiles:
    """The search of all features, in the order of the ids."""
    segments = list(self._segments.values())
    number = {name: i for i, name in enumerate(self._segments)}
    places = np.array([(number[name], row) for name, row in (self._places[id] for id in self._ids)])

    def check() -> None:
      for segment in segments:
        segment.check_features()

    if jax.default_backend() == "cpu":
      check()
      for segment in segments:
        for start in range(0, len(segment.mapped_features), ROWS_AT_ONCE):
          _check_sane(segment.mapped_features[start : start + ROWS_AT_ONCE], self._folder)
      return NearestInFiles([segment.mapped_features for segment in segments], places, check)

    def read(start: int, stop: int) -> np.ndarray:
      numbers, rows = places[start:stop].T
      features = np.empty((stop - start, self.feature_dim), np.float32)
      for segment in np.unique(numbers):
        chosen = numbers == segment
        features[chosen] = segments[segment].features(rows[chosen])
      _check_sane(features, self._folder)
      return features

    return Nearest(read, len(places), self.feature_dim)

  def quantise(self) -> float:
    """Writes 8-bit copies of all features, by which searches are faster; returns their recall@10 against exact search.

    The recall is of QUERIES sums of two images' features. Raises InputError without FAISS.
    """
    self._check_writing()
    from composeret_jax.serving.index.quantised import recall, write_quantised

    write_quantised(self._folder, self._segments, self.feature_dim, self._manifest.num_written)
    self._forget()
    chosen = np.random.default_rng(0).choice(len(self), (2, min(QUERIES, len(self))))
    features = [self.get([self._ids[row] for row in rows]).features for rows in chosen]
    queries = features[0] + features[1]
    exact = [[self._ids[row] for row in rows] for rows in self._nearest(queries, 10)[1]]
    return recall([[id for id, _ in hits] for hits in self.search(queries, 10)], exact)

  @property
  def is_quantised(self) -> bool:
    """Whether copies were written once: they are written again after each change."""
    return (self._folder / COPIES).exists()

  @functools.cached_property
  def _quantised(self) -> Any:
    """The search of the copies, and None where there are none, or segments that they are of are gone."""
    if not self.is_quantised:
      return None
    from composeret_jax.serving.index.quantised import Quantised  # FAISS is only needed for these

    try:
      return Quantised(self._folder, self._segments, [self._places[id] for id in self._ids])
    except OutOfDate:
      return None

  def _forget(self) -> None:
    """Forgets what was made from earlier segments."""
    for name in ("_ids", "_nearest", "_quantised", "_words", "_columns"):
      self.__dict__.pop(name, None)

  @functools.cached_property
  def _words(self) -> CaptionWords:
    """For all images, in the order of their ids."""
    return CaptionWords(f"{entry.caption}\n{entry.id}" for entry in self._in_order())

  @functools.cached_property
  def _columns(self) -> Columns:
    """For all images, in the order of their ids."""
    return Columns(entry.metadata for entry in self._in_order())

  def _in_order(self) -> Iterator[Entry]:
    """All images, in the order of their ids."""
    for name, row in (self._places[id] for id in self._ids):
      yield self._segments[name].entries[row]

  def _find(self, ids: Sequence[str]) -> list[Place]:
    missing = [id for id in ids if id not in self._places]
    if missing:
      raise InputError(f"{self._folder} has no {', '.join(missing[:5])}{' and others' if missing[5:] else ''}")
    return [self._places[id] for id in ids]

  def _rows(self, places: Sequence[Place]) -> Rows:
    found = [(self._segments[name], row) for name, row in places]
    parts = [segment.features([row]) for segment, row in found]
    features = np.concatenate(parts) if parts else np.zeros((0, self.feature_dim), np.float32)
    _check_sane(features, self._folder)
    return Rows(
      [segment.entries[row] for segment, row in found],
      features,
      np.array([segment.norms[row] for segment, row in found], np.float32),
      [segment.thumbnail(row) for segment, row in found],
    )

  def _append(self, others: Iterable[SegmentInfo], rows: Rows) -> None:
    """Writes a segment of these rows; the index is the other segments and this one."""
    info = write_segment(self._folder, f"segment-{self._manifest.num_written + 1:08d}", rows)
    self._commit((*others, info), {info.name: open_segment(self._folder, info, self.feature_dim)})
    self._places |= {entry.id: (info.name, row) for row, entry in enumerate(rows.entries)}

  def _commit(self, segments: Iterable[SegmentInfo], added: dict[str, Segment]) -> None:
    """The change happens here: the manifest is replaced. What it no longer names is removed after that."""
    kept = tuple(info for info in segments if info.live)
    manifest = Manifest(self.fingerprint, self.feature_dim, self._manifest.num_written + len(added), kept)
    write_manifest(self._folder, manifest)
    self._manifest = manifest
    opened = self._segments | added
    self._segments = {info.name: opened[info.name] for info in kept}
    self._forget()
    for name in opened.keys() - self._segments.keys():
      shutil.rmtree(self._folder / name)

  def tidy(self) -> None:
    """Merges small segments, so that there are few."""
    self._check_writing()
    self._merge_small_segments()

  def _merge_small_segments(self) -> None:
    small = [info for info in self._manifest.segments if info.live < SMALL_ROWS]
    for group in _groups(small):
      if len(group) == 1 and len(group[0].dead) <= group[0].live:
        continue
      rows = self._rows([(info.name, row) for info in group for row in _live_rows(info)])
      names = {old.name for old in group}
      self._append([old for old in self._manifest.segments if old.name not in names], rows)

  def _check_writing(self) -> None:
    if self._lock is None:
      raise InputError(f"{self._folder} was opened to read, not to write")


def _stamp(folder: pathlib.Path) -> tuple[int, ...]:
  """When the manifest and the copies were written, in nanoseconds, and which files they are."""
  stamp = []
  for name in (MANIFEST, COPIES):
    try:
      status = (folder / name).stat()
      stamp += [status.st_mtime_ns, status.st_ino, status.st_size]
    except FileNotFoundError:
      stamp += [0, 0, 0]
  return tuple(stamp)


def _check_sane(features: np.ndarray, folder: pathlib.Path) -> None:
  """NaN, infinite and very large ones would win every search, or none."""
  if features.size and not np.abs(features).max() <= LARGEST:
    raise InputError(f"{folder} has features that are not finite, or far from length 1")


def _with_dead(segments: Iterable[SegmentInfo], places: Iterable[Place]) -> list[SegmentInfo]:
  dead: dict[str, list[int]] = {}
  for name, row in places:
    dead.setdefault(name, []).append(row)
  return [
    SegmentInfo(info.name, info.rows, info.sizes, tuple(sorted([*info.dead, *dead.get(info.name, ())])))
    for info in segments
  ]


def _live_rows(info: SegmentInfo) -> list[int]:
  return sorted(set(range(info.rows)) - set(info.dead))


def _groups(segments: Iterable[SegmentInfo]) -> list[list[SegmentInfo]]:
  """Segments in a row that together have about MERGED_ROWS rows."""
  groups: list[list[SegmentInfo]] = []
  num_rows = MERGED_ROWS
  for info in segments:
    if num_rows + info.live > MERGED_ROWS:
      groups.append([])
      num_rows = 0
    groups[-1].append(info)
    num_rows += info.live
  return groups


def _check_free(folder: pathlib.Path) -> None:
  """Raises InputError for a folder in which something else is."""
  if folder.exists() and not folder.is_dir():
    raise InputError(f"{folder} is a file, expected the folder of an index")
  if folder.is_dir() and not (folder / MANIFEST).exists():
    others = [path.name for path in folder.iterdir() if path.name not in (LOCK, partial_name(folder / MANIFEST).name)]
    if others:
      raise InputError(f"{folder} is no index and not empty (found: {', '.join(sorted(others)[:5])})")
