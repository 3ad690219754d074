"""Batches: triplets in an order that is a pure function of the seed, decoded by workers, placed on the devices."""

from collections import deque
from collections.abc import Iterator, Mapping
import dataclasses

from absl import flags
import grain
import jax
from jaxtyping import UInt8
import numpy as np

from data_pipelines.pixels.decode import decode_image
from data_pipelines.queries.tables import ImageTable, Triplet, TripletSampler
from data_pipelines.texts.readers import TextReader

Batch = Mapping[str, np.ndarray]


class TripletStream:
  """The endless stream of training triplets: position -> triplet, a pure function of (seed, position).

  Items come in a new global order each epoch; an item's triplets stand side by side.
  """

  def __init__(self, sampler: TripletSampler, seed: int):
    self._sampler = sampler
    self._seed = seed
    self._order = grain.MapDataset.range(sampler.num_items).seed(seed).shuffle().repeat()

  def __getitem__(self, position: int) -> Triplet:
    visit, place = divmod(position, self._sampler.triplets_per_item)
    rng = np.random.default_rng((self._seed, visit))
    return self._sampler.sample(int(self._order[visit]), rng)[place]


@dataclasses.dataclass(frozen=True)
class OwnPosition(grain.transforms.Map):
  """Counts the rows that a process loads -> positions in the stream."""

  batch_size: int
  share: int
  first_step: int
  process_index: int

  def map(self, i: int) -> int:
    """The position of this process's `i`-th row, counted from `first_step`."""
    step, row = divmod(i, self.share)
    return (self.first_step + step) * self.batch_size + self.process_index * self.share + row


@dataclasses.dataclass(frozen=True)
class LoadTriplet(grain.transforms.Map):
  """Position in the stream -> pixels and the text's numbers."""

  stream: TripletStream
  images: ImageTable
  texts: TextReader
  image_size: int

  def map(self, position: int) -> Batch:
    """Decodes the triplet at `position`: pixels [image_size, image_size, 3] uint8, and its text as `texts` reads it."""
    triplet = self.stream[position]
    return {
      "reference": load_pixels(self.images, triplet.reference, self.image_size),
      "target": load_pixels(self.images, triplet.target, self.image_size),
      self.texts.batch_key: self.texts.encode([triplet.text])[0],
    }


@dataclasses.dataclass(frozen=True)
class LoadImage(grain.transforms.Map):
  """Row of an image table -> pixels."""

  images: ImageTable
  image_size: int

  def map(self, row: int) -> UInt8[np.ndarray, "size size 3"]:
    """Decodes one image."""
    return load_pixels(self.images, row, self.image_size)


def load_pixels(images: ImageTable, row: int, size: int) -> UInt8[np.ndarray, "size size 3"]:
  """One image's pixels; raises InputError with its name when it cannot be decoded."""
  return decode_image(images.encoded[row], size, images.names[row])


def train_batches(
  load: LoadTriplet,
  *,
  batch_size: int,
  first_step: int,
  num_steps: int,
  num_workers: int,
  process_index: int = 0,
  num_processes: int = 1,
) -> Iterator[Batch]:
  """This process's share of the batches of steps `first_step` to `num_steps` - 1, decoded `num_workers` at a time.

  Global batch s holds the stream's positions s * batch_size onwards whatever the number of processes and workers;
  process p has the p-th contiguous share of its rows. `num_workers` 0 decodes in threads of this process.
  """
  share = batch_size // num_processes
  own_positions = OwnPosition(batch_size, share, first_step, process_index)
  positions = grain.MapDataset.range((num_steps - first_step) * share).map(own_positions)
  return _iterate(positions.map(load).batch(share), num_workers)


def image_batches(
  images: ImageTable, *, image_size: int, batch_size: int, num_workers: int
) -> Iterator[UInt8[np.ndarray, "batch size size 3"]]:
  """All images in order; the last batch is as short as it comes."""
  rows = grain.MapDataset.range(len(images))
  return _iterate(rows.map(LoadImage(images, image_size)).batch(batch_size), num_workers)


def _iterate(dataset: grain.MapDataset, num_workers: int) -> Iterator:
  batches = dataset.to_iter_dataset()
  if num_workers:
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()  # Grain's workers read absl's flags, which only absl.app.run has parsed
    batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=num_workers))
  return iter(batches)


def to_devices(batches: Iterator[Batch], sharding: jax.sharding.Sharding, ahead: int = 2) -> Iterator[Mapping]:
  """Places batches on the devices, `ahead` of them before they are asked for; rows are split as `sharding` says."""
  placed = deque()
  for batch in batches:
    placed.append(jax.tree.map(lambda rows: jax.make_array_from_process_local_data(sharding, rows), dict(batch)))
    if len(placed) > ahead:
      yield placed.popleft()
  yield from placed
