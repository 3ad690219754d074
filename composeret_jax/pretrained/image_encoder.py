"""The part of an image encoder that brings its weights with it: a ResNet's convolutions, or a tower."""

import dataclasses
import functools
from typing import Any

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Float, Int
import ml_collections
import numpy as np
import tqdm

from composeret_jax.distributed import gather, largest_share, own_share, share_sizes
from composeret_jax.models.encoders.encoder import ImageTrunk
from composeret_jax.models.encoders.projected import FrozenTrunkHead, ProjectedImageEncoder
from composeret_jax.models.encoders.resnet import ResNet, Trunk
from composeret_jax.pretrained.files import find_weights
from composeret_jax.pretrained.frozen_features import fields_except, FrozenEncoder, kept_features
from composeret_jax.pretrained.resnet import FIELD, load_trunk
from composeret_jax.pretrained.towers.preprocessing import check_resizing
from composeret_jax.pretrained.towers.tower_folder import build_image_tower, open_image_folder
from data_pipelines.dataset import Dataset
from data_pipelines.files import file_sha256
from data_pipelines.loader import image_batches
from data_pipelines.pixels.source import PixelSource
from data_pipelines.tables import ImageTable


def build_image_encoder(encoder_config: ml_collections.ConfigDict, image_size: int, rngs: nnx.Rngs) -> nnx.Module:
  """The encoder that `encoder_config` (a model's `image_encoder`) describes; the head alone where the trunk is frozen.

  `image_size` is the side of the images' pixels, which a tower has to know.
  """
  if encoder_config.frozen:
    trunk_dim = nnx.eval_shape(lambda: build_trunk(encoder_config, image_size)).feature_dim
    return FrozenTrunkHead(trunk_dim, encoder_config.feature_dim, rngs=rngs)
  if encoder_config.name == "tower":
    return ProjectedImageEncoder(build_image_tower(encoder_config, image_size), encoder_config.feature_dim, rngs=rngs)
  return ResNet(**trunk_sizes(encoder_config), feature_dim=encoder_config.feature_dim, rngs=rngs)


def trunk_sizes(encoder_config: ml_collections.ConfigDict) -> dict[str, Any]:
  """The sizes of a ResNet's trunk."""
  return {
    "width": encoder_config.width,
    "stage_sizes": encoder_config.stage_sizes,
    "block": encoder_config.block,
    "dtype": jnp.dtype(encoder_config.dtype),
  }


def build_trunk(encoder_config: ml_collections.ConfigDict, image_size: int) -> ImageTrunk:
  """The trunk alone, its weights not read yet."""
  if encoder_config.name == "tower":
    return build_image_tower(encoder_config, image_size)
  return Trunk(**trunk_sizes(encoder_config), rngs=nnx.Rngs(0))


def load_pretrained(encoder_config: ml_collections.ConfigDict, trunk: Any) -> None:
  """Fills the trunk of `encoder_config` (the `image_encoder` part of a model's) from its files.

  Raises InputError when they are not there or do not fit; the trunk is untouched then.
  """
  if encoder_config.name == "tower":
    open_image_folder(encoder_config.pretrained).load(trunk)
  else:
    load_trunk(encoder_config.pretrained, trunk)


def check_image_trunk(config: ml_collections.ConfigDict) -> None:
  """Raises InputError when the tower of a whole configuration cannot be read, or was made for other pixels."""
  if config.model.image_encoder.name == "tower":
    folder = open_image_folder(config.model.image_encoder.pretrained)
    check_resizing(folder.path, folder.kind, config.data)


def trunk_made_with(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """The identity, in the checkpoints of a whole configuration, of the files of a tower or of a frozen trunk."""
  image_encoder = config.model.image_encoder
  if image_encoder.name == "tower":
    return {"trunk_sha256": open_image_folder(image_encoder.pretrained).fingerprints()}
  if image_encoder.frozen:
    return {"trunk_sha256": file_sha256(find_weights(image_encoder.pretrained, FIELD))}
  return {}


@dataclasses.dataclass(frozen=True)
class ImageFeatures:
  """Stands for a pixel store: a row is an image's feature."""

  array: Float[np.ndarray, "num dim"]

  def __len__(self) -> int:
    return len(self.array)

  def __getitem__(self, rows: Int[np.ndarray, " num"]) -> Float[np.ndarray, "num dim"]:
    return self.array[rows]


def with_features(dataset: Dataset, config: ml_collections.ConfigDict) -> Dataset:
  """The data set with the features of `config`'s pretrained trunk (a whole configuration) in place of pixels.

  `dataset` has its pixels in stores; the features are kept beside these, and go with them when they are deleted.
  """
  image_encoder = config.model.image_encoder
  trunk = build_trunk(image_encoder, config.data.image_size)
  load_pretrained(image_encoder, trunk)
  made_with = trunk_made_with(config) | fields_except(image_encoder, "pretrained", "feature_dim")

  def open_features(images: ImageTable, split: str) -> ImageFeatures:
    pixels: Any = dataset.open_pixels(images, split)  # a store
    encode = functools.partial(encode_images, trunk, pixels, config.eval.batch_size)
    folder, name = pixels.path.parent.with_name("features"), pixels.path.stem
    return ImageFeatures(kept_features(folder, name, made_with | {"pixels": name}, encode))

  return dataset.with_pixels(open_features)


def encode_images(trunk: ImageTrunk, pixels: PixelSource, batch_size: int) -> Float[np.ndarray, "num dim"]:
  """The trunk's feature of each image, `batch_size` at a time on each device; a process reads its share of them."""
  encode = FrozenEncoder(trunk, batch_size, lambda trunk, pixels: trunk.features(pixels))
  num_batches = -(-largest_share(len(pixels)) // encode.own_batch)
  batches = image_batches(
    pixels, own_share(len(pixels)), batch_size=encode.own_batch, num_batches=num_batches, num_workers=0
  )
  own = [encode(batch) for batch in tqdm.tqdm(batches, "encode images", num_batches, unit=" batches")]
  return gather(np.concatenate(own), share_sizes(len(pixels)))
