"""A frozen image encoder: each image goes through its trunk once, and a run reads the features in place of pixels."""

import dataclasses
import functools

from flax import nnx
from jaxtyping import Float, Int
import ml_collections
import numpy as np
import tqdm

from composeret_jax.frozen_encoder import FrozenEncoder
from composeret_jax.image_trunks import build_trunk, load_pretrained, trunk_made_with
from composeret_jax.kept_features import kept_features, without
from data_pipelines.datasets import Dataset
from data_pipelines.loader import image_batches
from data_pipelines.pixels.source import PixelSource
from data_pipelines.queries.tables import ImageTable


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
  made_with = trunk_made_with(config) | without(image_encoder, "pretrained", "feature_dim")

  def open_features(images: ImageTable, split: str) -> ImageFeatures:
    pixels = dataset.open_pixels(images, split)
    encode = functools.partial(encode_images, trunk, pixels, config.eval.batch_size)
    folder, name = pixels.path.parent.with_name("features"), pixels.path.stem
    return ImageFeatures(kept_features(folder, name, made_with | {"pixels": name}, encode))

  return dataclasses.replace(dataset, open_pixels=open_features)


def encode_images(trunk: nnx.Module, pixels: PixelSource, batch_size: int) -> Float[np.ndarray, "num dim"]:
  """The trunk's feature of each image, computed on all devices."""
  encode = FrozenEncoder(trunk, batch_size, lambda trunk, pixels: trunk.features(pixels))
  batches = image_batches(pixels, batch_size=encode.batch_size, num_workers=0)
  features = np.empty((len(pixels), trunk.feature_dim), np.float32)
  for start in tqdm.trange(0, len(pixels), encode.batch_size, desc="encode images", unit=" batches"):
    batch = next(batches)
    features[start : start + len(batch)] = encode(batch)
  return features
