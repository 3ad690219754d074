"""Queries between images with captions, where a data set lists none."""

from collections import defaultdict
from collections.abc import Sequence

from data_pipelines.datasets.tables.rows import Image, Query
from data_pipelines.texts.drawn_names import number_of
from data_pipelines.texts.labels import families, replacement_text


def sibling_queries(images: Sequence[Image]) -> list[Query]:
  """From each image to a caption of `images` that differs in a word; which one, its name decides."""
  siblings, queries = defaultdict[str, set[str]](set), []
  for captions in families(dict.fromkeys(image.label for image in images)).values():
    for caption in captions:
      siblings[caption].update(captions)
  for row, image in enumerate(images):
    others = sorted(siblings[image.label] - {image.label})
    if others:
      target = others[number_of(image.name) % len(others)]
      queries.append(Query(row, replacement_text(image.label, target), target, target, image.group))
  return queries
