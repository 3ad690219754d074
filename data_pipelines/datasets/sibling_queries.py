"""Queries between images with captions, where a data set lists none."""

from collections import defaultdict
from collections.abc import Sequence

from data_pipelines.datasets.tables.rows import Image, Query
from data_pipelines.texts.drawn_names import number_of
from data_pipelines.texts.labels import families, replacement_text


def sibling_queries(images: Sequence[Image]) -> list[Query]:
  """From each image to a caption of `images` that differs in a word; which one, its name decides."""
  rows_of = defaultdict[str, list[int]](list)
  for row, image in enumerate(images):
    rows_of[image.label].append(row)
  families_of = defaultdict[str, list[Sequence[str]]](list)
  for captions in families(rows_of).values():
    for caption in captions:
      families_of[caption].append(captions)
  queries: dict[int, Query] = {}
  for caption, own in families_of.items():  # one after the other: the siblings of all may be captions squared
    others = sorted(set().union(*own) - {caption})
    for row in rows_of[caption]:
      target = others[number_of(images[row].name) % len(others)]
      queries[row] = Query(row, replacement_text(caption, target), target, target, images[row].group)
  return [queries[row] for row in sorted(queries)]
