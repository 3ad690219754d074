"""Exact search of a gallery: ours, NumPy's product and full argsort in blocks, and FAISS flat if installed.

python -m benchmarks.retrieval --num_queries=10000 --num_images=200000 --dim=512 --k=50 --output=retrieval.json
OPENBLAS_CORETYPE=SkylakeX python -m benchmarks.retrieval     # FAISS with the kernels of this CPU

Ours are rank_gallery and the index's search of features in memory. The contenders take turns, each time in a process
of its own on the same random vectors, and the shortest time counts; compilation is counted, imports are not. NumPy
sorts the lists of the first --numpy_queries, and its times for these stand for all. `cpu_seconds` are
of all cores, which others' work on the machine changes less. `agreement` is the fraction of these queries whose
whole list is NumPy's; rounding swaps near ties. `blas` names the kernels that OpenBLAS has chosen for the CPU.
"""

import importlib.util
import json
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from absl import app, flags
import numpy as np
from threadpoolctl import threadpool_info

from benchmarks.contenders import peak_gigabytes, report, run_alone

_NUM_QUERIES = flags.DEFINE_integer("num_queries", 10_000, "Queries.", lower_bound=1)
_NUM_IMAGES = flags.DEFINE_integer("num_images", 200_000, "Gallery images.", lower_bound=1)
_DIM = flags.DEFINE_integer("dim", 512, "Width of the features.", lower_bound=1)
_K = flags.DEFINE_integer("k", 50, "Images found for each query.", lower_bound=1)
_QUERY_BLOCK = flags.DEFINE_integer("query_block", 256, "Queries at a time.", lower_bound=1)
_GALLERY_BLOCK = flags.DEFINE_integer("gallery_block", 8192, "Images at a time, for rank_gallery.", lower_bound=1)
_NUMPY_QUERIES = flags.DEFINE_integer("numpy_queries", 1_000, "Queries that NumPy sorts.", lower_bound=1)
_NUM_ROUNDS = flags.DEFINE_integer("num_rounds", 3, "Times that each contender runs.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
_CONTENDER = flags.DEFINE_string("contender", None, "Runs this one alone, on the vectors in --folder.")
_FOLDER = flags.DEFINE_string("folder", None, "Where the vectors and the ranks are.")


def rank_ours(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
  """rank_gallery with the given blocks."""
  from composeret_jax.evaluation.retrieval import rank_gallery

  blocks = {"query_block": _QUERY_BLOCK.value, "gallery_block": _GALLERY_BLOCK.value}
  return rank_gallery(queries, gallery, k=_K.value, **blocks).rows


def rank_index(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
  """An index in a folder, on a CPU."""
  from composeret_jax.serving.index.nearest import NearestInFiles

  places = np.stack([np.zeros(len(gallery), int), np.arange(len(gallery))], axis=1)
  return NearestInFiles([gallery], places)(queries, _K.value)[1]


def rank_numpy(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
  """Blocks of queries against the whole gallery, fully sorted."""
  starts = range(0, len(queries), _QUERY_BLOCK.value)
  products = (queries[start : start + _QUERY_BLOCK.value] @ gallery.T for start in starts)
  return np.concatenate([np.argsort(-scores, axis=1)[:, : _K.value] for scores in products])


def rank_faiss(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
  """FAISS's exact index by inner product."""
  import faiss

  index = faiss.IndexFlatIP(gallery.shape[1])
  index.add(gallery)
  return index.search(queries, _K.value)[1]


CONTENDERS = {"composeret_jax": rank_ours, "index": rank_index, "numpy": rank_numpy, "faiss": rank_faiss}
BASELINES = ("numpy", "faiss")


def write_vectors(folder: pathlib.Path) -> None:
  """Random unit vectors, the same every time."""
  rng = np.random.default_rng(0)
  for name, num in (("queries", _NUM_QUERIES.value), ("gallery", _NUM_IMAGES.value)):
    vectors = rng.standard_normal((num, _DIM.value), dtype=np.float32)
    np.save(folder / f"{name}.npy", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def run_contender(name: str, folder: pathlib.Path) -> dict[str, float | str]:
  """Seconds, peak memory and kernels of one contender, in this process; its ranks go to `folder`."""
  queries, gallery = np.load(folder / "queries.npy"), np.load(folder / "gallery.npy")
  num_asked = len(queries)
  queries = queries[: _NUMPY_QUERIES.value] if name == "numpy" else queries
  CONTENDERS[name](queries[:1], gallery[: _K.value])  # imports what it needs
  start, cpu_start = time.perf_counter(), time.process_time()
  ranks = CONTENDERS[name](queries, gallery)
  seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
  np.save(folder / f"{name}.npy", ranks)
  scale = num_asked / len(queries)
  return {"seconds": scale * seconds, "cpu_seconds": scale * cpu_seconds, "peak_gb": peak_gigabytes(), **kernels(name)}


def kernels(name: str) -> dict[str, str]:
  """The version and the CPU of the contender's OpenBLAS; XLA has its own product."""
  blas = [pool for pool in threadpool_info() if pool["internal_api"] == "openblas" and f"/{name}" in pool["filepath"]]
  return {"blas": " ".join(f"{pool['version']} {pool['architecture']}" for pool in blas) or "XLA"}


def compare(folder: pathlib.Path) -> list[dict]:
  """One row for each contender that is installed."""
  names = [name for name in CONTENDERS if name != "faiss" or importlib.util.find_spec("faiss")]
  shared = [f"--{flag.name}={flag.value}" for flag in (_K, _QUERY_BLOCK, _GALLERY_BLOCK, _NUMPY_QUERIES)]
  rounds = [
    {name: run_alone([*shared, f"--contender={name}", f"--folder={folder}"]) for name in names}
    for _ in range(_NUM_ROUNDS.value)
  ]
  expected = np.load(folder / "numpy.npy")
  best = {name: min((figures[name] for figures in rounds), key=lambda own: own["seconds"]) for name in names}
  for name in names:
    best[name]["cpu_seconds"] = min(figures[name]["cpu_seconds"] for figures in rounds)
  rows = []
  for name in names:
    agreement = float((np.load(folder / f"{name}.npy")[: len(expected)] == expected).all(axis=1).mean())
    speeds = {
      f"times_{other}'s_speed": best[other]["seconds"] / best[name]["seconds"] for other in names if other in BASELINES
    }
    rows.append({"contender": name, **best[name], **speeds, "agreement": agreement})
  return rows


def main(_) -> None:
  """Compares all contenders, or runs one."""
  if _CONTENDER.value:
    print(json.dumps(run_contender(_CONTENDER.value, pathlib.Path(_FOLDER.value))))
    return
  with tempfile.TemporaryDirectory() as folder:
    write_vectors(pathlib.Path(folder))
    rows = compare(pathlib.Path(folder))
  title = f"{_NUM_QUERIES.value} queries x {_NUM_IMAGES.value} images, width {_DIM.value}, the best {_K.value}"
  report(title, rows, _OUTPUT.value)
  if any(row["agreement"] < 0.9 for row in rows):
    raise SystemExit("The contenders disagree.")


if __name__ == "__main__":
  app.run(main)
