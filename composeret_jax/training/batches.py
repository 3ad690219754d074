"""The inputs of a step: batches on the devices and, where they fit, all training images, on each or over all."""

from collections.abc import Iterator, Mapping
import os
import sys
from typing import Literal

import jax
from jax.sharding import Mesh
from jaxtyping import Array, Shaped
import ml_collections

from composeret_jax.distributed import on_every_device, place, SplitRows
from composeret_jax.pretrained.image_encoder import ImageFeatures
from composeret_jax.train_step.parallel import Parallel
from composeret_jax.training.run import Data
from data_pipelines import loader
from data_pipelines.dataset import Dataset, num_loaders
from data_pipelines.input_error import InputError
from data_pipelines.pixels.store import PixelStore
from data_pipelines.texts.labels import label_numbers


def train_batches(
  data: Data, parallel: Parallel, first_step: int, *, as_rows: bool
) -> Iterator[Mapping[str, Shaped[Array, "..."]]]:
  """The batches of the steps after `first_step`, on the devices, `steps_per_call` at a time.

  References and targets are pixels or, `as_rows`, the rows of training images.
  """
  stream = loader.TripletStream(
    data.dataset.train_triplets,
    data.config.seed,
    batch_size=data.config.batch_size,
    num_siblings=data.config.data.siblings_per_batch,
  )
  labels = label_numbers(data.dataset.train_images.labels) if needs_labels(data.config) else None
  rows = loader.LoadRows(stream, data.texts.reader, labels, num_given_negatives(data.config))
  batches = loader.train_batches(
    rows if as_rows else loader.LoadTriplets(rows, data.dataset.train_pixels),
    batch_size=data.config.batch_size,
    first_step=first_step,
    num_steps=data.config.num_train_steps,
    num_workers=num_loaders(data.config.data),
    process_index=jax.process_index(),
    num_processes=jax.process_count(),
  )
  return loader.to_devices(batches, parallel.place, steps_per_call=parallel.steps_per_call)


def num_given_negatives(config: ml_collections.ConfigDict) -> int:
  """The images beside a triplet's own that a batch brings for each, by a whole configuration."""
  return config.data.get("negatives_per_query", 0)


def needs_labels(config: ml_collections.ConfigDict) -> bool:
  """Whether the step of a whole configuration needs the labels of the images of a batch."""
  return bool(num_given_negatives(config) or config.loss_reference_as_negative or config.loss_label_mask)


def resident_images(
  dataset: Dataset, config: ml_collections.ConfigDict, mesh: Mesh
) -> Shaped[Array, "num_images ..."] | SplitRows | None:
  """All training images (pixels of a store, or features) on the devices, so that a step gathers its own.

  Each device has all of them where they take no more than the share of its memory that they may have, else under jit
  an equal part, if that does, with a message. None where `config`, a whole configuration, streams them; None, and a
  message, when neither fits; InputError where hard negatives are mined, which are looked up there.
  """
  data_config = config.data
  if data_config.placement != "device":
    return None
  images = dataset.train_pixels
  if not isinstance(images, PixelStore | ImageFeatures):
    raise InputError(f"config.data.pixels is {data_config.pixels}, expected store with data.placement = device")
  need, memory = images.array.nbytes, device_memory(mesh)
  placement = resident_placement(config, mesh.size, need, memory)
  if placement == "whole":
    return place(images.array, on_every_device(mesh))
  share = data_config.device_memory_share
  problem = (
    f"config.data.placement is device, but {len(images):,} images take {need / 2**30:.2f} GiB and "
    f"config.data.device_memory_share = {share} leaves {share * memory / 2**30:.2f} GiB on each device"
  )
  if placement == "split":
    print(f"{problem}: each of the {mesh.size} devices holds its part of them", file=sys.stderr)
    return SplitRows.of(images.array, mesh)
  if config.hard_negatives.every_steps:
    raise InputError(f"{problem}; config.hard_negatives are looked up there")
  print(f"{problem}: they are streamed", file=sys.stderr)
  return None


def resident_placement(
  config: ml_collections.ConfigDict, num_devices: int, need: int, memory: int
) -> Literal["whole", "split"] | None:
  """How devices of `memory` bytes each hold training images of `need` bytes in all; None where they cannot."""
  room = config.data.device_memory_share * memory
  if need <= room:
    return "whole"
  return "split" if config.parallel == "jit" and need <= room * num_devices else None


def device_memory(mesh: Mesh) -> int:
  """The bytes that each device can hold; devices that do not say are taken to share the host's memory."""
  devices = mesh.local_devices
  limits = [(device.memory_stats() or {}).get("bytes_limit") for device in devices]
  known = [limit for limit in limits if limit]
  if len(known) == len(devices):
    return min(known)
  return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // len(devices)
