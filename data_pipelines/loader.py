"""Batches: triplets in an order that is a pure function of the seed, loaded by workers, placed on the devices."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
import dataclasses
import functools
import itertools
import re
import signal
from typing import Any

from absl import flags
import grain
from grain.experimental import index_shuffle
import jax
from jaxtyping import Int, Num
import numpy as np

from data_pipelines.input_error import InputError
from data_pipelines.pixels.source import PixelSource
from data_pipelines.samplers import SiblingSampler
from data_pipelines.tables import Triplet, TripletSampler
from data_pipelines.texts.readers import TextReader
from data_pipelines.worker_processes import ended_early, leave_with_parent, starting_deaf_to

Batch = Mapping[str, np.ndarray]


SIBLINGS = 2  # tells their random numbers from the items', which have no such number, and from the order's
ABSENT = -2  # the label in place of a negative that a triplet does not have
NUM_THREADS = 2  # of each process that loads; as many batches are kept ready, which at 256 x 224 pixels are 77 MB each


class TripletStream:
  """The endless stream of training triplets: position -> triplet, a pure function of (seed, position).

  Items come in a new global order each epoch; an item's triplets stand side by side. The first `num_siblings` rows of
  each batch are groups of siblings, which `sampler` draws apart from the epochs.
  """

  def __init__(self, sampler: TripletSampler, seed: int, *, batch_size: int = 1, num_siblings: int = 0):
    """`batch_size`, of the global batch, matters where there are siblings. Raises InputError for nothing to draw."""
    if not sampler.num_items:
      raise InputError("the data set has no training triplets; config.num_train_steps=0 evaluates the first weights")
    if num_siblings and not isinstance(sampler, SiblingSampler):
      raise InputError(f"config.data.siblings_per_batch is {num_siblings}, expected 0: the data set has no siblings")
    self._sampler = sampler
    self._seed = seed
    self._batch_size, self._num_siblings = batch_size, num_siblings
    self._shuffle_seed = int(np.random.SeedSequence((seed, 1)).generate_state(1)[0])

  def at(self, positions: Iterable[int]) -> list[Triplet]:
    """The triplets at positions; an item is sampled once for all of its triplets that come in a row."""
    triplets: list[Triplet] = []
    visited: Sequence[Triplet] = ()
    sampled, num_items = -1, self._sampler.num_items
    siblings: Sequence[Triplet] = ()
    with_siblings = -1  # the step that they are of
    for position in positions:
      step, row = divmod(position, self._batch_size)
      if row < self._num_siblings:
        if step != with_siblings:
          with_siblings, siblings = step, self._siblings(step)
        triplets.append(siblings[row])
        continue
      visit, place = divmod(position - (step + 1) * self._num_siblings, self._sampler.triplets_per_item)
      if visit != sampled:
        make_rng = functools.partial(np.random.default_rng, (self._seed, visit))
        # As MapDataset.range(num_items).seed(seed).shuffle().repeat()[visit], which takes 15 us for each.
        epoch, item = divmod(visit, num_items)
        shuffle_seed = (self._shuffle_seed + epoch) % 2**32
        shuffled = index_shuffle(item, max_index=num_items - 1, seed=shuffle_seed, rounds=4)
        sampled, visited = visit, self._sampler.sample(shuffled, make_rng)
      triplets.append(visited[place])
    return triplets

  def _siblings(self, step: int) -> Sequence[Triplet]:
    sampler: Any = self._sampler  # a SiblingSampler too
    return sampler.siblings(np.random.default_rng((self._seed, SIBLINGS, step)), self._num_siblings)


@dataclasses.dataclass(frozen=True)
class OwnPositions(grain.transforms.Map):
  """Counts the batches that a process loads -> the positions of its rows in the stream."""

  batch_size: int
  share: int
  first_step: int
  process_index: int

  def map(self, i: int) -> Int[np.ndarray, " share"]:
    """The positions of this process's share of the `i`-th batch, counted from `first_step`."""
    start = (self.first_step + i) * self.batch_size + self.process_index * self.share
    return np.arange(start, start + self.share)


@dataclasses.dataclass(frozen=True)
class LoadRows(grain.transforms.Map):
  """Positions in the stream -> rows of the image table, and the texts' numbers."""

  stream: TripletStream
  texts: TextReader
  labels: Int[np.ndarray, " num_images"] | None = None
  num_negatives: int = 0

  def map(self, positions: Int[np.ndarray, " num"]) -> Batch:
    """`reference` and `target` are rows, int32 [num]; the texts are as the reader gives them, under its key.

    With `labels`, the image table's as numbers, there are `reference_label` and `target_label`, int32 [num], and
    with `num_negatives` rows `negative` and labels `negative_label`, int32 [num, num_negatives]. A triplet with fewer
    has its target in their place, under the label ABSENT.
    """
    triplets = self.stream.at(positions.tolist())
    references, targets, texts, given = zip(*triplets, strict=True)
    batch = {
      "reference": np.array(references, np.int32),
      "target": np.array(targets, np.int32),
      self.texts.batch_key: self.texts.encode(texts),
    }
    if self.labels is None:
      return batch
    for name in ("reference", "target"):
      batch[f"{name}_label"] = self.labels[batch[name]]
    if self.num_negatives:
      batch["negative"] = np.repeat(batch["target"][:, None], self.num_negatives, axis=1)
      batch["negative_label"] = np.full_like(batch["negative"], ABSENT)
      for row, own in enumerate(rows[: self.num_negatives] for rows in given):
        batch["negative"][row, : len(own)] = own
        batch["negative_label"][row, : len(own)] = self.labels[list(own)]
    return batch


@dataclasses.dataclass(frozen=True)
class LoadTriplets(grain.transforms.Map):
  """Positions in the stream -> pixels, and the texts' numbers."""

  rows: LoadRows
  pixels: PixelSource

  def map(self, positions: Int[np.ndarray, " num"]) -> Batch:
    """`reference`, `target` and `negative` are pixels, uint8 [num, ..., size, size, 3]; else as in `LoadRows`."""
    batch = self.rows.map(positions)
    pixels = {}
    for name in batch.keys() & {"reference", "target", "negative"}:
      loaded = self.pixels[batch[name].ravel()]
      pixels[name] = loaded.reshape(*batch[name].shape, *loaded.shape[1:])
    return {**batch, **pixels}


@dataclasses.dataclass(frozen=True)
class LoadImages(grain.transforms.Map):
  """Counts batches -> the pixels of that batch of `rows`."""

  pixels: PixelSource
  rows: range
  batch_size: int

  def map(self, i: int) -> Num[np.ndarray, "num ..."]:
    """The `i`-th batch; fewer rows where `rows` end, and then none."""
    rows = np.array(self.rows[i * self.batch_size : (i + 1) * self.batch_size], np.int64)
    return self.pixels[rows] if len(rows) else self.pixels[np.zeros(1, np.int64)][:0]


def train_batches(
  load: LoadTriplets | LoadRows,
  *,
  batch_size: int,
  first_step: int,
  num_steps: int,
  num_workers: int,
  process_index: int = 0,
  num_processes: int = 1,
) -> Iterator[Batch]:
  """This process's share of the batches of steps `first_step` to `num_steps` - 1, loaded `num_workers` at a time.

  Global batch s holds the stream's positions s * batch_size onwards whatever the number of processes and workers;
  process p has the p-th contiguous share of its rows. `num_workers` 0 loads in threads of this process.
  """
  own_positions = OwnPositions(batch_size, batch_size // num_processes, first_step, process_index)
  positions = grain.MapDataset.range(num_steps - first_step).map(own_positions)
  return _iterate(positions.map(load), num_workers)


def image_batches(
  pixels: PixelSource, rows: range, *, batch_size: int, num_batches: int, num_workers: int
) -> Iterator[Num[np.ndarray, "batch ..."]]:
  """The images of `rows` in order, in `num_batches` of `batch_size`; where these are more, short and empty ones too."""
  batches = grain.MapDataset.range(num_batches)
  return _iterate(batches.map(LoadImages(pixels, rows, batch_size)), num_workers)


def _iterate(batches: grain.MapDataset, num_workers: int) -> Iterator:
  loaded = batches.to_iter_dataset(grain.ReadOptions(num_threads=NUM_THREADS, prefetch_buffer_size=NUM_THREADS))
  if not num_workers:
    yield from loaded
    return
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()  # Grain's workers read absl's flags, which only absl.app.run has parsed
  options = grain.MultiprocessingOptions(num_workers=num_workers)
  by_workers = iter(loaded.mp_prefetch(options, leave_with_parent))
  try:
    with starting_deaf_to(signal.SIGINT, signal.SIGTERM):
      first = list(itertools.islice(by_workers, 1))  # starts the workers
    yield from first
    yield from by_workers
  except RuntimeError as error:  # Grain's
    ended = re.search(r"terminated unexpectedly with (exit code -?\d+)", str(error))
    if not ended:
      raise
    raise ended_early(f"{ended[1]}; -9 is a kill") from error
  finally:
    by_workers.close()


def to_devices(
  batches: Iterator[Batch], place: Callable[[np.ndarray], jax.Array], *, steps_per_call: int = 1, ahead: int = 2
) -> Iterator[Mapping]:
  """Places batches on the devices, `ahead` of them before they are asked for.

  `place` gets an array of a batch or, where a call takes several steps, their batches' arrays on a new first axis.
  """
  placed: deque[Mapping] = deque()
  for batch in _stacked(batches, steps_per_call) if steps_per_call > 1 else batches:
    placed.append(jax.tree.map(place, dict(batch)))
    if len(placed) > ahead:
      yield placed.popleft()
  yield from placed


def _stacked(batches: Iterator[Batch], num: int) -> Iterator[dict[str, np.ndarray]]:
  """`num` batches at a time, on a new first axis, copied in a thread while the caller is busy with the ones before."""

  def stack() -> dict[str, np.ndarray]:
    group = [dict(batch) for batch in itertools.islice(batches, num)]
    if group and len(group) < num:
      raise ValueError(f"the last call has {len(group)} batches, expected {num}")
    return jax.tree.map(lambda *rows: np.stack(rows), *group) if group else {}

  with ThreadPoolExecutor(1) as thread:
    coming = thread.submit(stack)
    while batch := coming.result():
      coming = thread.submit(stack)
      yield batch
