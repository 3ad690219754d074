"""A frozen image encoder: each image goes through its trunk once, and a run reads the features in place of pixels."""

import dataclasses

from flax import nnx
import jax
from jaxtyping import Float, Int
import ml_collections
import numpy as np
import tqdm

from composeret_jax.devices import data_mesh, fetch, on_every_device, place, rows_split
from composeret_jax.image_trunks import build_trunk, load_pretrained
from data_pipelines.datasets import Dataset
from data_pipelines.loader import image_batches
from data_pipelines.pixels.source import PixelSource


@dataclasses.dataclass(frozen=True)
class ImageFeatures:
  """Stands for a pixel store: a row is an image's feature."""

  array: Float[np.ndarray, "num dim"]

  def __len__(self) -> int:
    return len(self.array)

  def __getitem__(self, rows: Int[np.ndarray, " num"]) -> Float[np.ndarray, "num dim"]:
    return self.array[rows]


def with_features(dataset: Dataset, config: ml_collections.ConfigDict) -> Dataset:
  """The data set with the features of `config`'s pretrained trunk (a whole configuration) in place of pixels."""
  trunk = build_trunk(config.model.image_encoder, config.data.image_size)
  load_pretrained(config.model.image_encoder, trunk)

  def open_features(images, split):
    return ImageFeatures(encode_images(trunk, dataset.open_pixels(images, split), config.eval.batch_size))

  return dataclasses.replace(dataset, open_pixels=open_features)


def encode_images(trunk: nnx.Module, pixels: PixelSource, batch_size: int) -> Float[np.ndarray, "num dim"]:
  """The trunk's feature of each image, computed on all devices."""
  sharding = rows_split(data_mesh())
  batch_size = -(-batch_size // sharding.num_devices) * sharding.num_devices
  trunk.eval()
  graphdef, weights = nnx.split(trunk)
  weights = jax.tree.map(lambda array: place(np.asarray(array), on_every_device(data_mesh())), weights)
  encode = jax.jit(lambda weights, batch: nnx.merge(graphdef, weights).features(batch))
  batches = image_batches(pixels, batch_size=batch_size, num_workers=0)
  features = np.empty((len(pixels), trunk.feature_dim), np.float32)
  for start in tqdm.trange(0, len(pixels), batch_size, desc="encode images", unit=" batches"):
    batch = next(batches)
    padded = np.concatenate([batch, np.repeat(batch[-1:], batch_size - len(batch), axis=0)])
    features[start : start + len(batch)] = fetch(encode(weights, place(padded, sharding)))[: len(batch)]
  return features
