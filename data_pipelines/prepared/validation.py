"""A validation split, drawn from the training side by a hash."""

from collections.abc import Callable
from typing import NamedTuple

from data_pipelines.tables import ImageTable, QueryTable, some_queries, without_images, without_their_queries
from data_pipelines.texts.drawn_names import drawn


class Parts(NamedTuple):
  """A training part and a validation part; each part's queries refer to its own images."""

  train_images: ImageTable
  train_queries: QueryTable
  images: ImageTable
  queries: QueryTable


def split_off(images: ImageTable, queries: QueryTable, share: float, held_out_by: Callable[[str], str]) -> Parts:
  """Holds out `share` of the labels of training images and queries: more rows move none to the other side.

  A label is held out by the hash of `held_out_by(label)`, with all its images. A query validates where its target is
  held out: no image that is right for it is trained on. Its gallery has the held-out images and the references, which
  may be trained on too. Training keeps the queries of which neither target nor reference is held out.
  """
  # Not by the bare label: a catalogue's test split is drawn by its hash already.
  decided = {label: drawn(f"validation {held_out_by(label)}", share) for label in dict.fromkeys(images.labels)}
  held = {row for row, label in enumerate(images.labels) if decided[label]}
  own = some_queries(queries, [row for row, label in enumerate(queries.target_labels) if decided[label]])
  others = set(range(len(images))) - held - set(own.references.tolist())
  return Parts(
    without_images(images, held),
    without_their_queries(queries, images, held),
    without_images(images, others),
    without_their_queries(own, images, others),
  )
