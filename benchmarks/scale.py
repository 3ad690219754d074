"""The needs of a gallery of a million to a billion images: bytes, hours, seconds and machines, as Markdown tables.

python -m benchmarks.scale --bundle=bundles/emoji
python -m benchmarks.scale --bundle=bundles/emoji --images_per_second=11000    # a rate measured on another device

Measures here what the bundle encodes in a second, what an index in a folder keeps of an image, and what rank_gallery
searches in a second, and scales these with the number of images. GB are 10^9 bytes.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import math
import pathlib
import tempfile
import tracemalloc

from absl import app, flags
import numpy as np

from benchmarks.contenders import best_seconds
from benchmarks.photographs import photograph

FLOAT32_BYTES, FLOAT16_BYTES = 4, 2
SIZES = (10**6, 10**8, 10**9)
NUM_DISTINCT = 64
HNSW_LINKS = 32  # of a vector; a link is four bytes
DISKANN_RATIO = 0.125 + 0.1  # of the vectors' bytes in memory: product-quantised codes and cached nodes
GIGA = 10**9


@dataclasses.dataclass(frozen=True)
class Measured:
  """Rates, and the bytes that an index keeps of one image beside its feature and norm."""

  dim: int
  images_per_second: float
  rows_per_second: float  # of the gallery, for one query
  batch_rows_per_second: float  # the same times the number of queries, for many queries at once
  thumbnail_bytes: float
  entry_disk_bytes: float
  entry_memory_bytes: float


@dataclasses.dataclass(frozen=True)
class Limits:
  """The means: bytes for the index on each machine, machines, and the seconds that a query may take."""

  machine_bytes: float
  num_machines: int
  query_seconds: float


def index_bytes(dim: int) -> dict[str, float]:
  """Bytes of memory that each type of index takes for one vector; docs/scale.md says by which pages of Milvus' docs."""
  exact = dim * FLOAT32_BYTES
  return {
    "exact": exact,
    "HNSW": exact + HNSW_LINKS * 4,
    "IVF_SQ8": dim + 4,  # a byte for each number, and the vector's id in its cluster's list
    "DISKANN": DISKANN_RATIO * exact,
  }


def num_shards(num_bytes: float, machine_bytes: float) -> int:
  """Machines over which so many bytes are split."""
  return math.ceil(num_bytes / machine_bytes)


def exact_bytes(measured: Measured) -> float:
  """Memory of one image in an exact index: feature, norm and entry."""
  return (measured.dim + 1) * FLOAT32_BYTES + measured.entry_memory_bytes


def storage_row(num_images: int, measured: Measured) -> dict[str, str]:
  """GB of each thing that is kept, and the hours that encoding takes."""
  each = {
    "features, float32": measured.dim * FLOAT32_BYTES,
    "features, float16": measured.dim * FLOAT16_BYTES,
    "norms": FLOAT32_BYTES,
    "ids and captions, memory": measured.entry_memory_bytes,
    "ids and captions, disk": measured.entry_disk_bytes,
    "thumbnails, disk": measured.thumbnail_bytes,
  }
  hours = num_images / measured.images_per_second / 3600
  sizes = {name: gigabytes(num_images * size) for name, size in each.items()}
  return {"images": f"{num_images:,}"} | sizes | {"hours to encode": number(hours)}


def search_row(num_images: int, measured: Measured, limits: Limits) -> dict[str, str]:
  """Seconds of an exact query on one machine and split over shards, and the index to take."""
  shards = num_shards(num_images * exact_bytes(measured), limits.machine_bytes)
  seconds = num_images / measured.rows_per_second
  return {
    "images": f"{num_images:,}",
    "one exact query, s": number(seconds),
    "each of many, s": number(num_images / measured.batch_rows_per_second),
    "shards": f"{shards:,}",
    "one query over the shards, s": number(seconds / shards),
    "index": advise(num_images, measured, limits),
  }


def memory_row(num_images: int, measured: Measured, limits: Limits) -> dict[str, str]:
  """GB of memory that the vectors take in each type of index, and machines for them."""
  row = {"images": f"{num_images:,}"}
  for name, size in index_bytes(measured.dim).items():
    row[name] = f"{gigabytes(num_images * size)} ({num_shards(num_images * size, limits.machine_bytes):,})"
  return row


def advise(num_images: int, measured: Measured, limits: Limits) -> str:
  """`exact` while it fits a machine and answers in time, else Milvus' first type that fits the machines.

  DISKANN where none does: it needs the least memory.
  """
  fits = num_images * exact_bytes(measured) <= limits.machine_bytes
  if fits and num_images / measured.rows_per_second <= limits.query_seconds:
    return "exact"
  for name in ("HNSW", "IVF_SQ8"):
    if num_shards(num_images * index_bytes(measured.dim)[name], limits.machine_bytes) <= limits.num_machines:
      return name
  return "DISKANN"


def gigabytes(num_bytes: float) -> str:
  """As a number of 10^9 bytes."""
  return number(num_bytes / GIGA)


def number(value: float) -> str:
  """Three digits at least."""
  return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
  """Rows with equal keys as a table."""
  lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def measure_encoding(bundle, num_images: int, num_repeats: int) -> float:
  """Images a second through `bundle.encode`, from JPEGs of 500 x 375 pixels."""
  distinct = [photograph(seed, 500, 375) for seed in range(NUM_DISTINCT)]
  images = [distinct[i % NUM_DISTINCT] for i in range(num_images)]
  bundle.encode(images[:NUM_DISTINCT])  # compiles
  return num_images / best_seconds(lambda: bundle.encode(images), num_repeats)


def measure_search(num_images: int, dim: int, num_queries: int, num_repeats: int) -> float:
  """Rows of the gallery, times queries, that rank_gallery searches in a second for the best 50."""
  from composeret_jax.evaluation.retrieval import rank_gallery

  rng = np.random.default_rng(0)
  gallery = rng.standard_normal((num_images, dim), np.float32)
  queries = rng.standard_normal((num_queries, dim), np.float32)

  def rank():
    return rank_gallery(queries, gallery, k=50, query_block=min(num_queries, 256)).rows

  rank()  # compiles
  return num_images * num_queries / best_seconds(rank, num_repeats)


def measure_entries(bundle, num_images: int) -> dict[str, float]:
  """Bytes that an index in a folder keeps of one image, in its files and in memory when it is open."""
  from composeret_jax.serving.index.build import build
  from composeret_jax.serving.index.exact import ExactIndex
  from composeret_jax.serving.index.segment import ENTRIES, THUMBNAILS
  from composeret_jax.serving.index.sources import SourceImage

  distinct = [photograph(seed, 500, 375) for seed in range(NUM_DISTINCT)]
  names = [f"photographs/{i // 1000:06d}/{i:09d}.jpg" for i in range(num_images)]
  images = [
    SourceImage(name, "a caption of six words here", f"/data/{name}", lambda i=i: distinct[i % NUM_DISTINCT])
    for i, name in enumerate(names)
  ]
  with tempfile.TemporaryDirectory() as parent:
    folder = pathlib.Path(parent, "index")
    index = ExactIndex.create(folder, bundle.fingerprint, bundle.feature_dim)
    build(bundle, index, images)
    index.close()
    del index
    tracemalloc.start()
    opened = ExactIndex.open(folder)
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    disk = {name: sum(file.stat().st_size for file in folder.rglob(name)) for name in (ENTRIES, THUMBNAILS)}
    count = len(opened)
  return {
    "thumbnail_bytes": disk[THUMBNAILS] / count,
    "entry_disk_bytes": disk[ENTRIES] / count,
    "entry_memory_bytes": memory / count,
  }


def measure() -> Measured:
  """Everything, on this machine, but for the rate of encoding where it is given."""
  from composeret_jax.serving.bundle import load

  values = flags.FLAGS
  bundle = load(values.bundle)
  rate = values.images_per_second or measure_encoding(bundle, values.num_encoded, values.num_repeats)
  search = {
    queries: measure_search(values.num_images, bundle.feature_dim, queries, values.num_repeats) for queries in (1, 256)
  }
  return Measured(bundle.feature_dim, rate, search[1], search[256], **measure_entries(bundle, values.num_encoded))


def describe(measured: Measured) -> str:
  """The measurements, one line each."""
  values = dataclasses.asdict(measured)
  return markdown([{"measured": name, "": number(value)} for name, value in values.items()])


def define_flags() -> None:
  """The command line of this script."""
  flags.DEFINE_string("bundle", None, "The folder of an exported model.")
  flags.DEFINE_float("images_per_second", None, "A rate of encoding that was measured elsewhere.", lower_bound=1e-9)
  flags.DEFINE_integer("num_encoded", 1024, "Images that are encoded, and indexed.", lower_bound=1)
  flags.DEFINE_integer("num_images", 200_000, "Size of the gallery that is searched.", lower_bound=1)
  flags.DEFINE_integer("num_repeats", 3, "Times that each is timed; the shortest counts.", lower_bound=1)
  flags.DEFINE_float("machine_gigabytes", 64.0, "Memory for the index on each machine.", lower_bound=1e-9)
  flags.DEFINE_integer("num_machines", 8, "Machines for the index.", lower_bound=1)
  flags.DEFINE_float("query_seconds", 1.0, "What an exact query may take.", lower_bound=0.0)


def main(_) -> None:
  """Measures, scales and prints."""
  values = flags.FLAGS
  limits = Limits(values.machine_gigabytes * GIGA, values.num_machines, values.query_seconds)
  measured = measure()
  tables = [
    describe(measured),
    markdown([storage_row(size, measured) for size in SIZES]),
    markdown([search_row(size, measured, limits) for size in SIZES]),
    markdown([memory_row(size, measured, limits) for size in SIZES]),
  ]
  print("\n\n".join(tables))


if __name__ == "__main__":
  define_flags()
  flags.mark_flag_as_required("bundle")
  app.run(main)
