"""Search of 8-bit copies of features by FAISS, whose best are compared exactly: a quarter of the bytes to read.

Graphs and cells (HNSW, IVF) are not used: docs/performance.md has what they find and what they take.
"""

from collections.abc import Mapping, Sequence
import concurrent.futures
import json
import os
import pathlib

import numpy as np

from composeret_jax.serving.index.segment import COPIES, OutOfDate, Segment
from data_pipelines.files import write_whole
from data_pipelines.input_error import InputError
from data_pipelines.untrusted_json import is_count, read_json_object

try:
  import faiss
except ImportError as error:
  raise InputError("this index has 8-bit copies of its features: pip install 'composeret-jax[faiss]'") from error

TRAINED_ROWS = 50_000  # whose ranges the 8 bits cover
ROWS_AT_ONCE = 65_536
CANDIDATES = 4  # for each result, compared exactly; at least MIN_CANDIDATES
MIN_CANDIDATES = 100
NUM_THREADS = min(8, os.cpu_count() or 1)


def write_quantised(folder: pathlib.Path, segments: Mapping[str, Segment], feature_dim: int, number: int) -> None:
  """Writes copies of all rows of the segments beside them; a reader finds the old copies or the new ones.

  `number` has to be another one for each change of the segments.
  """
  index = faiss.IndexScalarQuantizer(feature_dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
  num_rows = sum(len(segment.entries) for segment in segments.values())
  spread = np.random.default_rng(0)
  sample = [_features(segment, _some(spread, len(segment.entries), num_rows)) for segment in segments.values()]
  index.train(np.concatenate(sample))
  for segment in segments.values():
    for start in range(0, len(segment.entries), ROWS_AT_ONCE):
      index.add(_features(segment, np.arange(start, min(start + ROWS_AT_ONCE, len(segment.entries)))))
  file = folder / f"quantised-{number:08d}.faiss"
  partial = folder / f".{file.name}.partial"
  faiss.write_index(index, str(partial))
  partial.replace(file)
  rows = {name: len(segment.entries) for name, segment in segments.items()}
  write_whole(folder / COPIES, json.dumps({"file": file.name, "size": file.stat().st_size, "rows": rows}))
  for other in [*folder.glob("quantised-*.faiss"), *folder.glob(".quantised-*.partial")]:
    if other != file:
      other.unlink()


def _some(spread: np.random.Generator, num: int, num_rows: int) -> np.ndarray:
  """Rows of a segment to train on: its share of TRAINED_ROWS."""
  return np.sort(spread.permutation(num)[: max(1, num * TRAINED_ROWS // max(num_rows, TRAINED_ROWS))])


def _features(segment: Segment, rows: np.ndarray) -> np.ndarray:
  return np.ascontiguousarray(segment.features(rows), np.float32)


class Marks:
  """Which rows may be found: a bit for each copy, None where all may, and the numbers of rows that have no copy."""

  def __init__(self, rows: np.ndarray, num_rows: int, num_copies: int):
    mask = np.zeros(num_rows, bool)
    mask[rows] = True
    copies = mask[:num_copies]
    self.bits = None if copies.all() else np.packbits(copies, bitorder="little")
    self.new = np.flatnonzero(mask[num_copies:]) + num_copies


class Quantised:
  """Searches copies in `folder` and the features themselves of segments that have none yet."""

  def __init__(self, folder: pathlib.Path, segments: Mapping[str, Segment], places: Sequence[tuple[str, int]]):
    """`places` are the segments and rows of all images, in the order of their ids.

    Raises InputError where the copies are not those that were written, or of a segment that is gone.
    """
    description = read_json_object(folder / COPIES)
    covered, file = description.get("rows"), folder / str(description.get("file"))
    if not isinstance(covered, dict) or file.parent != folder or not is_count(description.get("size"), most=2**63):
      raise InputError(f"{folder / COPIES} does not describe copies of features")
    if not covered.keys() <= segments.keys() or not file.exists():
      raise OutOfDate(f"{file} has copies of segments that are gone")
    if not file.is_file() or file.is_symlink() or file.stat().st_size != description["size"]:
      raise InputError(f"{file} is missing, a link, or not of the size that was written")
    try:
      self._copies = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)  # processes share its pages
    except RuntimeError as error:
      raise InputError(f"{file} is no file of FAISS: {str(error)[:200]}") from error
    self._segments = [segments[name] for name in covered]
    self._segments += [segment for name, segment in segments.items() if name not in covered]
    names = [*covered, *(name for name in segments if name not in covered)]
    sizes = [len(segment.entries) for segment in self._segments]
    self._starts = np.concatenate([[0], np.cumsum(sizes)])
    self._num_copies = sum(sizes[: len(covered)])
    if (self._copies.ntotal, self._copies.d) != (self._num_copies, self._segments[0].dim):
      raise InputError(f"{file} has copies of other features than {folder / COPIES} says")
    start_of = dict(zip(names, self._starts, strict=False))
    self._rows = np.array([start_of[name] + row for name, row in places], np.int64)  # by the order of the ids
    self._order = np.full(self._starts[-1], -1, np.int64)  # and back
    self._order[self._rows] = np.arange(len(self._rows))
    self._all = Marks(self._rows, len(self._order), self._num_copies)
    self._threads = concurrent.futures.ThreadPoolExecutor(NUM_THREADS, "quantised")

  def __call__(
    self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None
  ) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each query the scores and the places in the order of the ids, of about the `k` best, best first.

    Only places of `allowed`, bool, are found. Scores are exact; equal ones are in the order of the ids.
    """
    marks = self._all if allowed is None else Marks(self._rows[allowed], len(self._order), self._num_copies)
    candidates = self._candidates(np.ascontiguousarray(queries, np.float32), max(CANDIDATES * k, MIN_CANDIDATES), marks)
    scores, places = [], []
    for query, own in zip(queries, candidates, strict=True):
      chosen = np.concatenate([own[own >= 0], marks.new])
      exact = self._exact(chosen, query)
      best = np.lexsort((self._order[chosen], -exact))[:k]
      scores.append(exact[best])
      places.append(self._order[chosen[best]])
    return scores, places

  def _candidates(self, queries: np.ndarray, num: int, marks: Marks) -> np.ndarray:
    """Rows int64 [num queries, ...] whose copies are the best, -1 where there are fewer; threads share the rows."""
    # FAISS's annotations describe its C++ functions.
    marked = None if marks.bits is None else faiss.IDSelectorBitmap(marks.bits)  # type: ignore[call-arg, arg-type]

    def search(start: int, stop: int) -> np.ndarray:
      part = faiss.IDSelectorRange(start, stop)
      chosen = faiss.IDSelectorAnd(part, marked) if marked else part
      parameters = faiss.SearchParameters(sel=chosen)  # type: ignore[call-arg]
      return self._copies.search(queries, num, params=parameters)[1]

    ends = np.linspace(0, self._num_copies, NUM_THREADS + 1).astype(int).tolist()
    return np.concatenate(list(self._threads.map(search, ends[:-1], ends[1:])), axis=1)

  def _exact(self, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Inner products with the features themselves, float32 [len(rows)]."""
    products = np.empty(len(rows), np.float32)
    segments = np.searchsorted(self._starts, rows, "right") - 1
    for number in np.unique(segments):
      chosen = segments == number
      products[chosen] = self._segments[number].features(rows[chosen] - self._starts[number]) @ query
    return products


def recall(found: Sequence[Sequence[str]], exact: Sequence[Sequence[str]]) -> float:
  """The share of the exact results that are found."""
  return sum(len(set(own) & set(true)) for own, true in zip(found, exact, strict=True)) / max(1, sum(map(len, exact)))
