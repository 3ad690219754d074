"""How many images a second reach the training step: from the pixel store, by decoding, and by a PyTorch DataLoader.

python -m benchmarks.input --num_images=20000 --num_workers=16 --output=input.json

Decodes made-up photographs of 500x375 pixels to 224, and makes batches of references and targets. The rival is what a
PyTorch user would write: a DataLoader whose workers decode with Pillow and stack; without PyTorch, a loop over Pillow.
"""

from collections.abc import Iterator
import io
import json
import os
import pathlib
import tempfile
import time

from absl import app, flags
import numpy as np
from PIL import Image

from benchmarks.photographs import photograph_table
from data_pipelines.loader import LoadRows, LoadTriplets, train_batches, TripletStream
from data_pipelines.pixels.source import DecodedPixels, PixelSource
from data_pipelines.pixels.store import open_store
from data_pipelines.samplers import ListedSampler
from data_pipelines.tables import ImageTable, QueryTable
from data_pipelines.texts.readers import TokenReader
from data_pipelines.texts.vocabulary import Vocabulary

try:
  import torch
except ImportError:
  torch = None

SIZE = 224
MANY = 1_000_000  # more batches than are ever asked for: workers are as busy at the end of the timing as at its start

_NUM_IMAGES = flags.DEFINE_integer("num_images", 10_000, "Images in the data set.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 256, "Triplets in a batch, each of two images.")
_NUM_WORKERS = flags.DEFINE_integer("num_workers", os.cpu_count(), "Processes that decode, ours and the rival's.", 1)
_OUTPUT = flags.DEFINE_string("output", "", "A JSON file to write.")


def images_per_second(batches: Iterator, warm_up: int, timed: int) -> float:
  """Two images a triplet; the first `warm_up` batches, with which processes start and queues fill, are not timed."""
  for _ in range(warm_up):
    next(batches)
  start = time.perf_counter()
  num_images = sum(2 * len(next(batches)["target"]) for _ in range(timed))
  return num_images / (time.perf_counter() - start)


def our_batches(images: ImageTable, pixels: PixelSource, num_workers: int) -> Iterator:
  """As training makes them: drawn triplets, their texts as ids, their pixels."""
  texts = [f"like this but {label}" for label in images.labels]
  sampler = ListedSampler(QueryTable(np.arange(len(images)), texts, images.labels, images.groups), images.labels)
  rows = LoadRows(TripletStream(sampler, seed=0), TokenReader(Vocabulary.from_texts(texts), 8))
  return train_batches(
    LoadTriplets(rows, pixels),
    batch_size=_BATCH_SIZE.value,
    first_step=0,
    num_steps=MANY,
    num_workers=num_workers,
  )


class PillowTriplets:
  """The rival's data set: a reference and a random target, each decoded, resized and cropped by Pillow."""

  def __init__(self, images: ImageTable):
    self._images = images

  def __len__(self) -> int:
    return len(self._images)

  def __getitem__(self, row: int) -> dict:
    target = np.random.default_rng(row).integers(len(self))
    return {"reference": self._load(row), "target": self._load(target)}

  def _load(self, row: int) -> np.ndarray:
    with Image.open(io.BytesIO(self._images.encoded[row])) as image:
      rgb = image.convert("RGB")
    scale = SIZE / min(rgb.size)
    rgb = rgb.resize((round(rgb.width * scale), round(rgb.height * scale)), Image.Resampling.BILINEAR)
    left, top = (rgb.width - SIZE) // 2, (rgb.height - SIZE) // 2
    return np.array(rgb.crop((left, top, left + SIZE, top + SIZE)))


def rival_batches(images: ImageTable) -> Iterator:
  """PyTorch's, or Pillow's alone."""
  triplets, batch_size = PillowTriplets(images), _BATCH_SIZE.value
  if torch is None:
    return pillow_batches(triplets, batch_size)
  sampler = torch.utils.data.RandomSampler(triplets, replacement=True, num_samples=MANY * batch_size)
  workers = _NUM_WORKERS.value  # spawned, since this process has JAX's threads
  loader = torch.utils.data.DataLoader(
    triplets, batch_size, sampler=sampler, num_workers=workers, multiprocessing_context="spawn"
  )
  return iter(loader)


def pillow_batches(triplets: PillowTriplets, batch_size: int) -> Iterator:
  """The images that one process decodes."""
  rng = np.random.default_rng(0)
  while True:
    loaded = [triplets[int(row)] for row in rng.integers(len(triplets), size=batch_size)]
    yield {key: np.stack([triplet[key] for triplet in loaded]) for key in loaded[0]}


def measure(images: ImageTable, folder: pathlib.Path) -> dict[str, float]:
  """Images a second of each way, by its name."""
  workers = _NUM_WORKERS.value
  start = time.perf_counter()
  store = open_store(images, SIZE, folder, split="train", source="benchmark", num_workers=workers)
  rates = {"building the store": len(images) / (time.perf_counter() - start)}
  rates["batches from the store"] = images_per_second(our_batches(images, store, num_workers=0), 5, 50)
  decoded = our_batches(images, DecodedPixels(images, SIZE), workers)
  rates["batches by decoding"] = images_per_second(decoded, 3 * workers, 4 * workers)
  del decoded  # ends its processes
  if torch is None:
    rates["one process with Pillow (no PyTorch here)"] = images_per_second(rival_batches(images), 1, 2)
  else:
    rates["PyTorch DataLoader with Pillow"] = images_per_second(rival_batches(images), 3 * workers, 4 * workers)
  return rates


def main(_) -> None:
  """Prints a table, and writes it."""
  images = photograph_table(_NUM_IMAGES.value, 500, 375)
  with tempfile.TemporaryDirectory() as folder:
    rates = measure(images, pathlib.Path(folder))
  result = {
    "num_cpus": os.cpu_count(),
    "num_images": _NUM_IMAGES.value,
    "batch_size": _BATCH_SIZE.value,
    "num_workers": _NUM_WORKERS.value,
    "images_per_second": rates,
  }
  print(f"{_NUM_WORKERS.value} workers, {os.cpu_count()} CPUs, batches of {_BATCH_SIZE.value} triplets")
  for name, rate in rates.items():
    print(f"{name:<45}{rate:10,.0f} images/s")
  if _OUTPUT.value:
    pathlib.Path(_OUTPUT.value).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
  app.run(main)
