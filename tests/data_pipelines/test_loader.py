import dataclasses
import functools
import multiprocessing
import os
import signal
import time

import grain
import jax
import numpy as np
import pytest

from composeret_jax.distributed import data_mesh, rows_split
from data_pipelines.dataset import open_dataset
from data_pipelines.input_error import InputError
from data_pipelines.loader import image_batches, LoadRows, LoadTriplets, to_devices, train_batches, TripletStream
from data_pipelines.pixels.source import DecodedPixels, load_pixels
from data_pipelines.pixels.store import PixelStore
from data_pipelines.tables import ImageTable, Triplet
from data_pipelines.texts.readers import TokenReader
from data_pipelines.texts.vocabulary import Vocabulary


class Numbered:
  """A sampler whose triplets show how they were drawn."""

  num_items = 5
  triplets_per_item = 2

  def sample(self, item, make_rng):
    rng = make_rng()
    return [Triplet(item, int(rng.integers(1000)), "a"), Triplet(item, int(rng.integers(1000)), "b")]

  def texts(self):
    return ["a", "b"]


@pytest.fixture
def dataset(config):
  return open_dataset(config.data, "modification")


@pytest.fixture
def load(dataset):
  vocabulary = Vocabulary.from_texts(dataset.train_triplets.texts())
  rows = LoadRows(TripletStream(dataset.train_triplets, seed=3), TokenReader(vocabulary, 2))
  return LoadTriplets(rows, DecodedPixels(dataset.train_images, 16))


def batches(load, **options):
  defaults = {"batch_size": 6, "first_step": 0, "num_steps": 5, "num_workers": 0}
  return list(train_batches(load, **defaults | options))


def assert_same(first, second):
  assert len(first) == len(second)
  jax.tree.map(np.testing.assert_array_equal, first, second)


def test_an_epoch_visits_every_item_once_in_a_new_order():
  stream = TripletStream(Numbered(), seed=0)
  epochs = [[triplet.reference for triplet in stream.at(range(10 * epoch, 10 * epoch + 10, 2))] for epoch in range(4)]
  assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
  assert len(set(map(tuple, epochs))) > 1
  triplets = stream.at(range(40))
  assert all(triplets[2 * i].reference == triplets[2 * i + 1].reference for i in range(20))


def test_items_come_in_grains_order():
  stream = TripletStream(Numbered(), seed=9)
  expected = grain.MapDataset.range(5).seed(9).shuffle().repeat()
  assert [triplet.reference for triplet in stream.at(range(0, 40, 2))] == [expected[i] for i in range(20)]


def test_the_stream_depends_on_seed_and_position_alone():
  positions = [7, 3, 12, 7]
  first = TripletStream(Numbered(), seed=1)
  again = TripletStream(Numbered(), seed=1)
  other = TripletStream(Numbered(), seed=2)
  assert first.at(positions) == [again.at([position])[0] for position in reversed(positions)][::-1]
  assert first.at(range(20)) != other.at(range(20))


class WithSiblings(Numbered):
  """Items as Numbered's; siblings show their random numbers."""

  def siblings(self, rng, num):
    drawn = int(rng.integers(1000))
    return [Triplet(-1, drawn, str(i)) for i in range(num)]


def with_siblings(num_siblings, seed=0):
  return TripletStream(WithSiblings(), seed=seed, batch_size=6, num_siblings=num_siblings)


def test_siblings_are_a_pure_function_of_seed_and_step():
  drawn = [with_siblings(2).at(range(6 * step, 6 * step + 2)) for step in range(20)]
  assert all([triplet.text for triplet in own] == ["0", "1"] for own in drawn)
  assert len({own[0].target for own in drawn}) > 10
  assert with_siblings(2).at([7, 6]) == drawn[1][::-1]
  assert with_siblings(2, seed=1).at([0]) != drawn[0][:1]


def test_the_other_rows_go_through_the_epochs():
  positions = [6 * step + row for step in range(10) for row in range(2, 6)]
  assert with_siblings(2).at(positions) == TripletStream(Numbered(), seed=0).at(range(40))


def test_no_siblings_change_nothing():
  assert with_siblings(0).at(range(60)) == TripletStream(Numbered(), seed=0).at(range(60))


def test_a_data_set_without_siblings_is_refused():
  with pytest.raises(InputError, match=r"data.siblings_per_batch is 4, expected 0"):
    TripletStream(Numbered(), seed=0, batch_size=6, num_siblings=4)


def test_a_batch_holds_the_triplets_of_its_positions(load):
  first, second = batches(load)[:2]
  assert first["reference"].shape == (6, 16, 16, 3)
  assert first["reference"].dtype == np.uint8
  (triplet,) = load.rows.stream.at([6 + 2])
  np.testing.assert_array_equal(second["target"][2], load_pixels(load.pixels.images, triplet.target, 16))
  np.testing.assert_array_equal(second["tokens"][2], load.rows.texts.encode([triplet.text])[0])


def test_rows_are_those_of_the_pixels(load):
  rows, pixels = batches(load.rows)[1], batches(load)[1]
  assert rows["reference"].dtype == rows["target"].dtype == np.int32
  for name in ("reference", "target"):
    np.testing.assert_array_equal(load.pixels[rows[name]], pixels[name])
  np.testing.assert_array_equal(rows["tokens"], pixels["tokens"])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_store_gives_the_batches_that_decoding_gives(load, dataset, num_workers):
  stored = dataclasses.replace(load, pixels=dataset.train_pixels)
  assert isinstance(stored.pixels, PixelStore)
  assert_same(batches(stored, num_workers=num_workers), batches(load))


def test_starting_late_gives_the_same_batches(load):
  assert_same(batches(load, first_step=3), batches(load)[3:])


def test_processes_share_a_batch_in_order(load):
  shares = [batches(load, process_index=i, num_processes=3) for i in range(3)]
  joined = [jax.tree.map(lambda *parts: np.concatenate(parts), *parts) for parts in zip(*shares, strict=True)]
  assert_same(joined, batches(load))


def test_any_number_of_workers_gives_the_same_stream(load):
  assert_same(batches(load, num_workers=2), batches(load))


def test_images_come_in_order_in_as_many_batches_as_are_asked_for(load):
  parts = list(image_batches(load.pixels, range(2, 15), batch_size=5, num_batches=4, num_workers=0))
  assert [len(part) for part in parts] == [5, 5, 3, 0]
  assert parts[3].shape == (0, 16, 16, 3)
  np.testing.assert_array_equal(parts[2][2], load_pixels(load.pixels.images, 14, 16))


def test_batches_reach_the_devices_unchanged(load):
  expected = batches(load)
  place = functools.partial(jax.device_put, device=rows_split(data_mesh()))
  placed = list(to_devices(iter(expected), place))
  assert all(isinstance(array, jax.Array) for array in placed[0].values())
  assert_same(placed, [dict(batch) for batch in expected])


def test_several_steps_a_call_are_stacked(load):
  expected = batches(load)
  first = next(to_devices(iter(expected), lambda rows: rows, steps_per_call=2, ahead=0))
  for name, rows in first.items():
    np.testing.assert_array_equal(rows, [expected[0][name], expected[1][name]])


def test_an_unreadable_image_is_named():
  images = ImageTable(["a/b.jpg"], ["x y"], [b"not an image"], [""])
  with pytest.raises(InputError, match=r"a/b\.jpg"):
    load_pixels(images, 0, 16)


class SlowPixels:
  def __len__(self):
    return 1000

  def __getitem__(self, rows):
    time.sleep(0.02)
    return np.zeros((len(rows), 2, 2, 3), np.uint8)


def test_a_killed_worker_is_one_error_that_says_what_to_set():
  batches = image_batches(SlowPixels(), range(1000), batch_size=1, num_batches=1000, num_workers=1)
  next(batches)
  for worker in multiprocessing.active_children():
    os.kill(worker.pid, signal.SIGKILL)
  with pytest.raises(InputError, match="a process that loads images was ended .exit code -9.*config.data.num_workers"):
    list(batches)
