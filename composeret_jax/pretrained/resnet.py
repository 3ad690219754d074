"""Pretrained image encoders: torchvision's ResNets, from safetensors files with torchvision's names."""

from collections.abc import Iterator
from typing import Any

from composeret_jax.models.encoders.resnet import Trunk
from composeret_jax.pretrained.files import find_weights, read_safetensors
from composeret_jax.pretrained.slots import batch_norm_slots, conv2d_slots, fill, prefixed, Slots

FIELD = "model.image_encoder.pretrained"


# The file's classifier; the head is our own.
CLASSIFIER = "fc."


def load_trunk(where: str, trunk: Trunk) -> None:
  """Fills a trunk from `where`: a safetensors file, a folder with model.safetensors, or a repository of the hub.

  Raises InputError when there is no such file, or when it does not fit; the trunk is untouched then.
  """
  file = find_weights(where, FIELD)
  tensors = {name: value for name, value in read_safetensors(file).items() if not name.startswith(CLASSIFIER)}
  fill(tensors, trunk_slots(trunk), f"config.model.image_encoder is another network than {file}: its weights")


def trunk_slots(trunk: Trunk) -> Slots:
  """torchvision's names of all but the classifier."""
  slots = {**prefixed("conv1.", conv2d_slots(trunk.stem)), **prefixed("bn1.", batch_norm_slots(trunk.stem_norm))}
  blocks: Iterator[Any] = iter(trunk.blocks)
  for stage, num_blocks in enumerate(trunk.stage_sizes, start=1):
    for index in range(num_blocks):
      block, name = next(blocks), f"layer{stage}.{index}."
      for i in range(1, block.num_convolutions + 1):
        slots |= prefixed(f"{name}conv{i}.", conv2d_slots(getattr(block, f"conv{i}")))
        slots |= prefixed(f"{name}bn{i}.", batch_norm_slots(getattr(block, f"norm{i}")))
      if block.shortcut:
        slots |= prefixed(f"{name}downsample.0.", conv2d_slots(block.shortcut.conv))
        slots |= prefixed(f"{name}downsample.1.", batch_norm_slots(block.shortcut.norm))
  return slots
