"""The part of an image encoder that brings its weights with it: a ResNet's convolutions, or a tower."""

from collections.abc import Mapping
from typing import Any

from flax import nnx
import jax.numpy as jnp
import ml_collections

from composeret_jax.checksums import file_sha256
from composeret_jax.encoders.projected_images import FrozenTrunkHead, ProjectedImageEncoder
from composeret_jax.encoders.resnet import ResNet, Trunk
from composeret_jax.weights.files import find_weights
from composeret_jax.weights.preprocessing import check_resizing
from composeret_jax.weights.pretrained import FIELD, load_trunk
from composeret_jax.weights.towers import build_image_tower, open_image_folder
from data_pipelines.input_error import InputError


def build_image_encoder(config: ml_collections.ConfigDict, image_size: int, rngs: nnx.Rngs) -> nnx.Module:
  """What `config` (the `image_encoder` part of a model's) describes; its last layer alone where the rest is frozen.

  `image_size` is the side of the images' pixels, which a tower has to know.
  """
  if config.frozen:
    return FrozenTrunkHead(trunk_dim(config, image_size), config.feature_dim, rngs=rngs)
  if config.name == "tower":
    return ProjectedImageEncoder(build_image_tower(config, image_size), config.feature_dim, rngs=rngs)
  return ResNet(**trunk_sizes(config), feature_dim=config.feature_dim, rngs=rngs)


def trunk_sizes(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """What a ResNet's trunk is built with."""
  return {
    "width": config.width,
    "stage_sizes": config.stage_sizes,
    "block": config.block,
    "dtype": jnp.dtype(config.dtype),
  }


def build_trunk(config: ml_collections.ConfigDict, image_size: int) -> nnx.Module:
  """The trunk alone, its weights not read yet."""
  if config.name == "tower":
    return build_image_tower(config, image_size)
  return Trunk(**trunk_sizes(config), rngs=nnx.Rngs(0))


def trunk_dim(config: ml_collections.ConfigDict, image_size: int) -> int:
  """The width of a trunk's feature."""
  return nnx.eval_shape(lambda: build_trunk(config, image_size)).feature_dim


def load_pretrained(config: ml_collections.ConfigDict, trunk: nnx.Module) -> None:
  """Fills the trunk of `config` (the `image_encoder` part of a model's) from its files.

  Raises InputError when they are not there or do not fit; the trunk is untouched then.
  """
  if config.name == "tower":
    open_image_folder(config.pretrained).load(trunk)
  else:
    load_trunk(config.pretrained, trunk)


def check_image_trunk(config: ml_collections.ConfigDict) -> None:
  """Raises InputError when the tower of a whole configuration cannot be read, or was made for other pixels."""
  if config.model.image_encoder.name == "tower":
    check_resizing(open_image_folder(config.model.image_encoder.pretrained).path, config.data)


def trunk_made_with(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """What identifies, in the checkpoints of a whole configuration, the files of a tower or of a frozen trunk."""
  image_encoder = config.model.image_encoder
  if image_encoder.name == "tower":
    return {"trunk_sha256": open_image_folder(image_encoder.pretrained).fingerprints()}
  if image_encoder.frozen:
    return {"trunk_sha256": file_sha256(find_weights(image_encoder.pretrained, FIELD))}
  return {}


def check_same_trunk(saved: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
  """Raises InputError when the checkpoint at `where` was made with another pretrained trunk."""
  if saved.get("trunk_sha256") != now.get("trunk_sha256"):
    raise InputError(f"{where} was trained on another trunk than config.{FIELD} holds now")
