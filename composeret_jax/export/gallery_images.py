"""A data set's test gallery as images to index."""

import functools

import ml_collections

from composeret_jax.serving.index.sources import SourceImage
from composeret_jax.training.config.check import check_config
from data_pipelines.dataset import open_dataset


def gallery_images(config: ml_collections.ConfigDict) -> list[SourceImage]:
  """The gallery of the data set that a run's configuration names; ids are the images' names, captions their labels.

  An image that is in the gallery of several of FashionIQ's categories is there once.
  """
  check_config(config, num_devices=1)
  gallery = open_dataset(config.data, config.text_query).gallery
  images: dict[str, SourceImage] = {}
  for row, (name, label) in enumerate(zip(gallery.names, gallery.labels, strict=True)):
    images.setdefault(name, SourceImage(name, label, "", functools.partial(gallery.encoded.__getitem__, row)))
  return list(images.values())
