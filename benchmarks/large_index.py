"""Search of a large index: exact, and by 8-bit copies whose best are compared exactly.

python -m benchmarks.large_index --num_images=1000000 --output=large_index.json

Features are random unit vectors, which are the hardest for anything approximate. Each query comes alone; recall is
the ten best's against exact search. The index is written below --folder: 2 GB for a million features of 512,
0.5 GB for the copies.
"""

import pathlib
import shutil
import tempfile
import time

from absl import app, flags
import numpy as np

from benchmarks.contenders import report
from composeret_jax.serving.index.exact import ExactIndex
from composeret_jax.serving.index.index import Entry, Rows
from composeret_jax.serving.index.quantised import recall

_NUM_IMAGES = flags.DEFINE_integer("num_images", 100_000, "Images of the index.", lower_bound=100)
_DIM = flags.DEFINE_integer("dim", 512, "Numbers of a feature.", lower_bound=2)
_NUM_QUERIES = flags.DEFINE_integer("num_queries", 50, "Queries, one after the other.", lower_bound=1)
_K = flags.DEFINE_integer("k", 24, "Images found for each query.", lower_bound=10)
_FOLDER = flags.DEFINE_string("folder", None, "Folder for the index; a temporary one by default, removed at the end.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

ROWS_AT_ONCE = 50_000


def main(_) -> None:
  """Writes the index, searches it exactly, makes the copies, and searches them."""
  folder = pathlib.Path(_FOLDER.value or tempfile.mkdtemp())
  try:
    index = random_index(folder / "index")
    queries = unit_vectors(np.random.default_rng(1), _NUM_QUERIES.value)
    exact, exact_row = searched("exact", index, queries)
    start = time.perf_counter()
    index.quantise()
    seconds = time.perf_counter() - start
    found, row = searched("8-bit copies", index, queries)
    row |= {"recall@10": recall([own[:10] for own in found], [own[:10] for own in exact]), "build s": seconds}
    index.close()
    report(f"{len(index):,} images, features of {_DIM.value}, the {_K.value} best", [exact_row, row], _OUTPUT.value)
  finally:
    if not _FOLDER.value:
      shutil.rmtree(folder)


def unit_vectors(rng: np.random.Generator, num: int) -> np.ndarray:
  """float32 [num, dim], rows of length 1."""
  vectors = rng.standard_normal((num, _DIM.value), dtype=np.float32)
  return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def random_index(folder: pathlib.Path) -> ExactIndex:
  """An index of random features, open to write."""
  index, rng = ExactIndex.create(folder, "0" * 64, _DIM.value), np.random.default_rng(0)
  for start in range(0, _NUM_IMAGES.value, ROWS_AT_ONCE):
    num = min(ROWS_AT_ONCE, _NUM_IMAGES.value - start)
    entries = [Entry(f"{row:08d}", "") for row in range(start, start + num)]
    index.put(Rows(entries, unit_vectors(rng, num), np.ones(num, np.float32), [b""] * num))
  return index


def searched(name: str, index: ExactIndex, queries: np.ndarray) -> tuple[list[list[str]], dict]:
  """The ids found for each query, and how long that takes; the first query again, as it builds what all need."""
  index.search(queries[:1], _K.value)
  found, seconds = [], []
  for query in queries:
    start = time.perf_counter()
    (hits,) = index.search(query[None], _K.value)
    seconds.append(time.perf_counter() - start)
    found.append([id for id, _ in hits])
  median, high = np.percentile(seconds, (50, 95)) * 1000
  return found, {"search": name, "median ms": float(median), "95 % ms": float(high), "recall@10": 1.0, "build s": 0.0}


if __name__ == "__main__":
  app.run(main)
