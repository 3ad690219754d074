"""All training images on every device, so that a step gathers its own and nothing is sent."""

import os
import sys

from jax.sharding import Mesh
from jaxtyping import Array, Shaped
import ml_collections

from composeret_jax.distributed import on_every_device, place
from composeret_jax.pretrained.image_encoder import ImageFeatures
from data_pipelines.input_error import InputError
from data_pipelines.pixels.store import PixelStore


def resident_images(
  images: PixelStore | ImageFeatures, mesh: Mesh, config: ml_collections.ConfigDict, *, required: bool = False
) -> Shaped[Array, "num_images ..."] | None:
  """All images (pixels of a store, or features) on each device.

  None, and a message, when they need more than the share of memory that they may have; InputError when `required`.

  `config` is the `data` part of a run's configuration.
  """
  need, room = images.array.nbytes, config.device_memory_share * device_memory(mesh)
  if need > room:
    problem = (
      f"config.data.placement is device, but {len(images):,} images take {need / 2**30:.2f} GiB and "
      f"config.data.device_memory_share = {config.device_memory_share} leaves {room / 2**30:.2f} GiB on each device"
    )
    if required:
      raise InputError(f"{problem}; config.hard_negatives are looked up there")
    print(f"{problem}: they are streamed", file=sys.stderr)
    return None
  return place(images.array, on_every_device(mesh))


def device_memory(mesh: Mesh) -> int:
  """The bytes that each device can hold; devices that do not say are taken to share the host's memory."""
  devices = mesh.local_devices
  limits = [(device.memory_stats() or {}).get("bytes_limit") for device in devices]
  if all(limits):
    return min(limits)
  return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // len(devices)
