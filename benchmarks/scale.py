"""What a gallery needs, from a million images to a thousand million, computed from figures that are measured here.

python -m benchmarks.scale --bundle=bundles/emoji --index=indexes/emoji --images_per_second=11034 --memory_gb=256

Measured: the bytes of a thumbnail and of what is known of an image (in the index), the rate of `encode` (unless
--images_per_second gives that of another machine), the time of one exact query on random features. The table's rows are
products of these. An HNSW graph adds its links to the features, IVF_SQ8 keeps a byte for each number.
"""

from collections.abc import Sequence
import dataclasses
import math
import time
import tracemalloc

from absl import app, flags
import numpy as np

from benchmarks.contenders import best_seconds, report
from composeret_jax.bundle import Bundle, load
from composeret_jax.index import Entry, Index, open_index
from composeret_jax.index.nearest import Nearest

_BUNDLE = flags.DEFINE_string("bundle", None, "The bundle's folder.", required=True)
_INDEX = flags.DEFINE_string("index", None, "An index of the bundle.", required=True)
_IMAGES_PER_SECOND = flags.DEFINE_float("images_per_second", None, "Encoded elsewhere; measured here where not given.")
_MEMORY_GB = flags.DEFINE_float("memory_gb", 256.0, "Memory of a machine, of which SHARE is for the gallery.")
_SEARCHED = flags.DEFINE_integer("searched", 200_000, "Random features that a query is timed on.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

GALLERIES = (10**6, 10**7, 10**8, 10**9)
SHARE = 0.75
HNSW_LINKS = 32  # of 4 bytes, for each image: milvus.io/ai-quick-reference, "How much memory overhead ..."


@dataclasses.dataclass(frozen=True)
class Figures:
  """Of one image: the width of its feature, bytes of its thumbnail, and of what is known of it in memory; images
  encoded a second; seconds of one exact query for each image of the gallery.
  """

  dim: int
  thumbnail_bytes: float
  entry_bytes: float
  images_per_second: float
  query_seconds: float


def main(_) -> None:
  """Measures, and prints a table of what each gallery needs."""
  bundle, index = load(_BUNDLE.value), open_index(_INDEX.value)
  figures = measured(bundle, index)
  print(figures)
  rows = [needs(num_images, figures, _MEMORY_GB.value) for num_images in GALLERIES]
  report(f"Galleries of {figures.dim}-dimensional features, machines of {_MEMORY_GB.value:g} GB", rows, _OUTPUT.value)


def needs(num_images: int, figures: Figures, memory_gb: float) -> dict:
  """A row of the table; gigabytes are 10^9 bytes."""
  gigabytes = num_images / 1e9
  features, entries = 4 * figures.dim * gigabytes, figures.entry_bytes * gigabytes
  exact, hnsw, sq8 = features + entries, features + 4 * HNSW_LINKS * gigabytes, figures.dim * gigabytes
  return {
    "images": f"{num_images:,}",
    "features GB": features,
    "thumbnails GB": figures.thumbnail_bytes * gigabytes,
    "encode hours": num_images / figures.images_per_second / 3600,
    "exact: memory GB": exact,
    "exact: s/query": num_images * figures.query_seconds,
    "HNSW GB": hnsw,
    "HNSW machines": num_machines(hnsw, memory_gb),
    "IVF_SQ8 GB": sq8,
    "IVF_SQ8 machines": num_machines(sq8, memory_gb),
  }


def num_machines(gigabytes: float, memory_gb: float) -> int:
  """How many hold this much in SHARE of their memory."""
  return math.ceil(gigabytes / (SHARE * memory_gb))


def measured(bundle: Bundle, index: Index) -> Figures:
  """The figures of this bundle and index, on this machine."""
  ids = index.find("", 1000)
  rows = index.get(ids)
  return Figures(
    dim=bundle.feature_dim,
    thumbnail_bytes=float(np.mean([len(jpeg) for jpeg in rows.thumbnails])),
    entry_bytes=entry_bytes(rows.entries),
    images_per_second=_IMAGES_PER_SECOND.value or encode_rate(bundle),
    query_seconds=query_seconds(bundle.feature_dim, _SEARCHED.value) / _SEARCHED.value,
  )


def entry_bytes(entries: Sequence[Entry], num: int = 50_000) -> float:
  """Memory for what an open exact index knows of an image: its entry, and its place by id."""
  tracemalloc.start()
  copies = [dataclasses.replace(entries[i % len(entries)]) for i in range(num)]
  own = [Entry(*(f"{text}{i:07d}"[7:] for text in vars(entry).values())) for i, entry in enumerate(copies)]
  places = {entry.id + str(i): ("segment", i) for i, entry in enumerate(own)}
  del copies
  size = tracemalloc.get_traced_memory()[0] / num
  tracemalloc.stop()
  del own, places
  return size


def encode_rate(bundle: Bundle) -> float:
  """Images a second from pixels in memory, after compilation."""
  pixels = np.random.default_rng(0).integers(0, 256, (64, bundle.image_size, bundle.image_size, 3), dtype=np.uint8)
  bundle.encode(pixels)
  return len(pixels) / best_seconds(lambda: bundle.encode(pixels), 5)


def query_seconds(dim: int, num_images: int) -> float:
  """The median of single queries for the 10 best."""
  rng = np.random.default_rng(0)
  features = rng.standard_normal((num_images, dim), dtype=np.float32)
  nearest = Nearest(lambda start, stop: features[start:stop], num_images, dim)
  seconds = []
  for query in rng.standard_normal((12, 1, dim), dtype=np.float32):
    start = time.perf_counter()
    nearest(query, 10)
    seconds.append(time.perf_counter() - start)
  return float(np.median(seconds[2:]))


if __name__ == "__main__":
  app.run(main)
