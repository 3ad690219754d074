"""Approximate search of random unit vectors, by FAISS and usearch, beside exact search: recall and milliseconds.

python -m benchmarks.approximate --num_vectors=100000 --output=approximate.json

Each query comes alone, the index's threads are --threads. Recall is of the ten best. Random vectors are the hardest
case: none has near neighbours. Vectors are in a temporary file, and one index is held at a time. Rows are printed at
once, since graphs take long to build.
"""

from collections.abc import Callable, Iterator
import sys
import tempfile
import time
from typing import NamedTuple

from absl import app, flags
import faiss
import numpy as np

from benchmarks.contenders import report

_NUM_VECTORS = flags.DEFINE_integer("num_vectors", 100_000, "Vectors.", lower_bound=1_000)
_DIM = flags.DEFINE_integer("dim", 512, "Numbers of a vector.", lower_bound=2)
_NUM_QUERIES = flags.DEFINE_integer("num_queries", 30, "Queries, one after the other.", lower_bound=1)
_THREADS = flags.DEFINE_integer("threads", 2, "Threads of each library.", lower_bound=1)
_SKIP = flags.DEFINE_multi_string("skip", [], "Kind of index to leave out; may be repeated.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

K = 10
ROWS_AT_ONCE = 50_000
CANDIDATES = 100  # that are compared exactly where the index keeps fewer bits
Search = Callable[[np.ndarray, int], np.ndarray]


class Contender(NamedTuple):
  """`build` gets the vectors, and gives a search for each effort that is tried: rows int64 of the best for a query."""

  build: Callable[[np.ndarray], Callable[[int], Search]]
  efforts: tuple[int, ...]
  reranks: bool = False


def main(_) -> None:
  """Builds each index, and searches it with each effort."""
  faiss.omp_set_num_threads(_THREADS.value)
  with tempfile.NamedTemporaryFile() as file:
    vectors = random_vectors(file.name)
    queries = unit(np.random.default_rng(1), _NUM_QUERIES.value)
    truth = [exact(vectors, query) for query in queries]
    rows = []
    for kind in CONTENDERS:
      if kind not in _SKIP.value:
        for row in measured(kind, vectors, queries, truth):
          print(row, file=sys.stderr, flush=True)
          rows.append(row)
  report(f"{len(vectors):,} random vectors of {_DIM.value}, the {K} best", rows, _OUTPUT.value)


def measured(kind: str, vectors: np.ndarray, queries: np.ndarray, truth: list[np.ndarray]) -> Iterator[dict]:
  """A row for each effort."""
  build, efforts, reranks = CONTENDERS[kind]
  start = time.perf_counter()
  with_effort = build(vectors)
  seconds = time.perf_counter() - start
  for effort in efforts:
    search, taken, found = with_effort(effort), [], []
    for query in queries:
      start = time.perf_counter()
      rows = search(query, CANDIDATES if reranks else K)
      if reranks:
        rows = best_of(vectors, rows, query)
      taken.append(time.perf_counter() - start)
      found.append(rows)
    recall = np.mean([len(set(own) & set(best)) / K for own, best in zip(found, truth, strict=True)])
    median = float(np.median(taken) * 1000)
    yield {"index": kind, "effort": effort, "median ms": median, "recall@10": float(recall), "build s": seconds}


def best_of(vectors: np.ndarray, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
  """The best of some rows, by the vectors themselves."""
  rows = rows[rows >= 0]
  return rows[np.argsort(-(vectors[rows] @ query))[:K]]


def unit(rng: np.random.Generator, num: int) -> np.ndarray:
  """float32 [num, dim], rows of length 1."""
  vectors = rng.standard_normal((num, _DIM.value), dtype=np.float32)
  return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def random_vectors(name: str) -> np.ndarray:
  """All vectors, mapped."""
  vectors = np.memmap(name, np.float32, "w+", shape=(_NUM_VECTORS.value, _DIM.value))
  rng = np.random.default_rng(0)
  for start in range(0, len(vectors), ROWS_AT_ONCE):
    vectors[start : start + ROWS_AT_ONCE] = unit(rng, min(ROWS_AT_ONCE, len(vectors) - start))
  return vectors


def exact(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
  """The rows of the K best."""
  return np.argsort(-(vectors @ query))[:K]


def by_faiss(description: str, field: str = "") -> Callable[[np.ndarray], Callable[[int], Search]]:
  """An index of FAISS's factory, whose effort is the parameter `field`."""

  def build(vectors: np.ndarray) -> Callable[[int], Search]:
    index = faiss.index_factory(_DIM.value, description, faiss.METRIC_INNER_PRODUCT)
    index.train(np.ascontiguousarray(vectors[:ROWS_AT_ONCE]))
    for start in range(0, len(vectors), ROWS_AT_ONCE):
      index.add(np.ascontiguousarray(vectors[start : start + ROWS_AT_ONCE]))

    def with_effort(effort: int) -> Search:
      if field:
        faiss.ParameterSpace().set_index_parameter(index, field, effort)
      return lambda query, k: index.search(query[None], k)[1][0]

    return with_effort

  return build


def by_usearch(dtype: str) -> Callable[[np.ndarray], Callable[[int], Search]]:
  """usearch's graph of vectors in `dtype`, whose effort is the number of candidates."""

  def build(vectors: np.ndarray) -> Callable[[int], Search]:
    from usearch.index import Index  # pip install usearch: nothing else here needs it

    index = Index(ndim=_DIM.value, metric="ip", dtype=dtype)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
      part = np.asarray(vectors[start : start + ROWS_AT_ONCE])
      index.add(np.arange(start, start + len(part)), part, threads=_THREADS.value)

    def with_effort(effort: int) -> Search:
      index.expansion_search = effort
      return lambda query, k: index.search(query, k, threads=1).keys.astype(np.int64)

    return with_effort

  return build


CONTENDERS = {
  "FAISS flat": Contender(by_faiss("Flat"), (0,)),
  "FAISS 8-bit (SQ8)": Contender(by_faiss("SQ8"), (0,), reranks=True),
  "FAISS IVF": Contender(by_faiss("IVF1024,Flat", "nprobe"), (64, 256, 512)),
  "FAISS IVF, 8-bit": Contender(by_faiss("IVF1024,SQ8", "nprobe"), (64, 256, 512), reranks=True),
  "usearch, 8-bit": Contender(by_usearch("i8"), (128, 1024, 4096), reranks=True),
  "usearch": Contender(by_usearch("f32"), (128, 1024, 4096)),
  "FAISS HNSW": Contender(by_faiss("HNSW32,Flat", "efSearch"), (128, 1024, 4096)),
}


if __name__ == "__main__":
  app.run(main)
