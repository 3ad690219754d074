"""The cost of data in the ComposeAE step: a batch that never moves, images on the device, and streamed batches.

python -m benchmarks.placement --output=placement.json    # on a GPU
python -m benchmarks.placement --image_size=64 --batch_size=16 --dtype=float32 --num_images=500    # on a CPU

The three ways share one process, one store of made-up photographs and one compiled step each; they take turns, so that
a change of the machine's speed meets all of them. The rate is the median over --num_rounds rounds.
"""

from collections.abc import Callable, Iterator
import itertools
import os
import pathlib
import statistics
import tempfile
import time

from absl import app, flags
import jax
import numpy as np

from benchmarks import resnet_model
from benchmarks.contenders import report
from benchmarks.photographs import photograph_table
from benchmarks.random_batch import DIM, TEXT_LENGTH, VOCABULARY_SIZE
from composeret_jax.distributed import data_mesh, on_every_device, place
from composeret_jax.train_step.optimizers import build_optimizer
from composeret_jax.train_step.parallel import Parallel
from composeret_jax.train_step.state import create_state
from composeret_jax.train_step.step import make_train_step
from configs import base, models
from data_pipelines.loader import LoadRows, LoadTriplets, to_devices, train_batches, TripletStream
from data_pipelines.pixels.store import open_store, PixelStore
from data_pipelines.samplers import ListedSampler
from data_pipelines.tables import ImageTable, QueryTable
from data_pipelines.texts.readers import TokenReader
from data_pipelines.texts.vocabulary import Vocabulary

MANY = 1_000_000  # more steps than are ever asked for

_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Pixels, square.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 256, "Triplets a step.", lower_bound=2)
_DTYPE = flags.DEFINE_enum("dtype", "bfloat16", ["float32", "bfloat16"], "What convolutions compute in.")
_NUM_IMAGES = flags.DEFINE_integer("num_images", 20_000, "Images in the data set.")
_NUM_WORKERS = flags.DEFINE_integer("num_workers", 0, "Processes that gather rows; 0: threads of this one.")
_NUM_STEPS = flags.DEFINE_integer("num_steps", 20, "Steps in each timed round.", lower_bound=1)
_NUM_ROUNDS = flags.DEFINE_integer("num_rounds", 7, "Timed rounds of each way.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")


def drawn_rows(images: ImageTable) -> LoadRows:
  """Training's draws: a reference, a text about another label, a target that has it."""
  texts = [f"like this but {label}" for label in images.labels]
  sampler = ListedSampler(QueryTable(np.arange(len(images)), texts, images.labels, images.groups), images.labels)
  return LoadRows(TripletStream(sampler, seed=0), TokenReader(Vocabulary.from_texts(texts), TEXT_LENGTH))


def batches(load: LoadRows | LoadTriplets, parallel: Parallel) -> Iterator[dict]:
  """As training makes them, on the device."""
  loaded = train_batches(
    load, batch_size=_BATCH_SIZE.value, first_step=0, num_steps=MANY, num_workers=_NUM_WORKERS.value
  )
  return to_devices(loaded, parallel.place)


def trainer(parallel: Parallel, batches: Iterator[dict], resident: jax.Array | None) -> Callable[[int], float]:
  """A function that does some steps from the next batches on and returns their seconds."""
  config = base.get_config()
  config.model = models.get_config("compose_ae")
  config.model.image_encoder.dtype = _DTYPE.value
  config.batch_size = _BATCH_SIZE.value

  model = resnet_model.build(config.model, VOCABULARY_SIZE, DIM)
  optimizer = build_optimizer(config)
  step = parallel.compile(make_train_step(model, optimizer, config, parallel))
  state = jax.tree.map(jax.numpy.copy, create_state(model, optimizer, seed=0))

  def run(num_steps: int) -> float:
    nonlocal state
    start = time.perf_counter()
    for _ in range(num_steps):
      state, _ = step(state, next(batches), resident)
    jax.block_until_ready(state)
    return time.perf_counter() - start

  return run


def trainers(images: ImageTable, store: PixelStore) -> dict[str, Callable[[int], float]]:
  """The three ways by name."""
  mesh = data_mesh()
  parallel = Parallel("jit", mesh, steps_per_call=1)
  rows = drawn_rows(images)
  streamed = LoadTriplets(rows, store)
  same = next(batches(streamed, parallel))
  return {
    "one batch, never moved": trainer(parallel, itertools.repeat(same), None),
    "images on the device": trainer(parallel, batches(rows, parallel), place(store.array, on_every_device(mesh))),
    "streamed from the store": trainer(parallel, batches(streamed, parallel), None),
  }


def measure(images: ImageTable, store: PixelStore) -> list[dict]:
  """A row for each way: its rate, and the share of the first one's."""
  ways = trainers(images, store)
  for run in ways.values():
    run(_NUM_STEPS.value)  # compiles, and fills queues
  seconds = {name: [] for name in ways}
  for _, (name, run) in itertools.product(range(_NUM_ROUNDS.value), ways.items()):
    seconds[name].append(run(_NUM_STEPS.value))
  rates = {name: 2 * _BATCH_SIZE.value * _NUM_STEPS.value / statistics.median(times) for name, times in seconds.items()}
  first = next(iter(rates.values()))
  return [{"images": name, "images_per_second": rate, "share": rate / first} for name, rate in rates.items()]


def main(_) -> None:
  """Prints the table, and writes it."""
  images = photograph_table(_NUM_IMAGES.value, 500, 375)
  with tempfile.TemporaryDirectory() as folder:
    store = open_store(
      images, _IMAGE_SIZE.value, pathlib.Path(folder), split="train", source="benchmark", num_workers=os.cpu_count()
    )
    rows = measure(images, store)
  device = jax.devices()[0].device_kind
  report(
    f"ComposeAE, {device}, {_IMAGE_SIZE.value} pixels, batch {_BATCH_SIZE.value}, {_DTYPE.value}", rows, _OUTPUT.value
  )


if __name__ == "__main__":
  app.run(main)
