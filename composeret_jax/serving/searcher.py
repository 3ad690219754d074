"""Search with a reference image and sentences: a bundle and an index, opened together.

Needs what a bundle needs (docs/bundle.md), and for an index in Milvus its client; nothing of what training needs.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
import dataclasses
import os
from typing import Any

import numpy as np

from composeret_jax.serving.bundle import Bundle, ImageInput, load
from composeret_jax.serving.index import Index, open_index
from composeret_jax.serving.index.columns import Filters
from composeret_jax.serving.index.index import check_same_bundle
from data_pipelines.input_error import InputError

Weights = float | Sequence[float]


SHORTEST = 1e-6  # of a query before it is brought to length 1: below, it points where rounding errors point


@dataclasses.dataclass(frozen=True)
class Result:
  """An image that was found: its score is the inner product with the query; `thumbnail` is a JPEG."""

  id: str
  score: float
  caption: str
  path: str
  thumbnail: bytes
  metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Query:
  """A query: a unit feature, float32 [dim], and the length of the raw feature behind it.

  `reference_id` is the image of the index that the query started from: it is left out of what is found. `image` is
  the reference itself, for models that compose images and not features.
  """

  feature: np.ndarray
  norm: float
  reference_id: str | None = None
  image: ImageInput | None = None


class Searcher:
  """Finds images of an index. May be called from several threads."""

  def __init__(self, bundle: Bundle, index: Index):
    """Raises InputError when the index holds another bundle's features."""
    check_same_bundle(index, bundle)
    self.bundle = bundle
    self.index = index

  @classmethod
  def open(cls, bundle: str | os.PathLike, index: str | os.PathLike) -> "Searcher":
    """From a bundle's folder and an index's location: a folder, milvus:FILE.db or milvus:http://HOST:PORT.

    Raises InputError when either cannot be used, or they do not belong together.
    """
    return cls(load(bundle), open_index(index))

  def search(self, reference: ImageInput, texts: str | Sequence[str] = (), k: int = 10) -> list[Result]:
    """The `k` images that come closest to what the texts, one after the other, make of the reference; best first.

    The reference is the id of an image of the index, or else an image: a path, bytes, a PIL image or an array.
    Without a text, images like it.
    """
    query = self.from_reference(reference)
    for text in [texts] if isinstance(texts, str) else texts:
      query = self.refine(query, text)
    return self.rank([query], k)[0]

  def from_reference(self, reference: ImageInput) -> Query:
    """`from_id` for a string that is the id of an image of the index, otherwise `from_image`."""
    if isinstance(reference, str) and reference in self.index:
      return self.from_id(reference)
    return self.from_image(reference)

  def from_image(self, image: ImageInput) -> Query:
    """A query that no text has turned yet; raises InputError when the image cannot be read."""
    return self.from_images([image])[0]

  def from_images(self, images: Sequence[ImageInput]) -> list[Query]:
    """`from_image` for many, in one batch."""
    features, norms = self.bundle.encode_with_norms(images)
    kept = [None] * len(images) if self.bundle.composes_features else images
    return [
      Query(feature, float(norm), image=image) for feature, norm, image in zip(features, norms, kept, strict=True)
    ]

  def from_id(self, id: str) -> Query:
    """From what the index keeps of an image, which is not encoded again; raises InputError when it has no such id."""
    rows = self.index.get([id])
    return Query(rows.features[0], float(rows.norms[0]), reference_id=id, image=rows.entries[0].path or None)

  def from_text(self, text: str) -> Query:
    """The query of a text alone; raises InputError for one without a known word."""
    features, norms = self.bundle.text_only_with_norms([text])
    return Query(features[0], float(norms[0]))

  def refine(self, query: Query, text: str, image_weight: float = 0.0, text_weight: float = 0.0) -> Query:
    """The query that the text makes of this one, which another text can turn further.

    Its feature is the composed one plus `image_weight` times the feature before the text, plus `text_weight` times
    the feature of the text alone; the sum is brought to length 1. Raises InputError when the sum has length 0, for a
    text without a known word, and for a model that composes images when the query has none: when it has been refined
    already, or its image is not on this disk.
    """
    return self.refine_many([query], [text], image_weight, text_weight)[0]

  def refine_many(
    self,
    queries: Sequence[Query],
    texts: Sequence[str],
    image_weight: Weights = 0.0,
    text_weight: Weights = 0.0,
  ) -> list[Query]:
    """`refine` for many queries, each with its own text, in one batch; the weights are for all, or one for each."""
    if not queries:
      return []
    if not all(text.strip() for text in texts):
      raise InputError("a text is blank: say what should differ")
    composed, norms = self._compose(queries, texts)
    weights = [np.asarray(weight, np.float32) for weight in (image_weight, text_weight)]
    image_weights, text_weights = (np.broadcast_to(weight, len(queries))[:, None] for weight in weights)
    if image_weights.any():
      composed = composed + image_weights * _features(queries)
    if text_weights.any():
      composed = composed + text_weights * self.bundle.text_only(texts)
    lengths = np.linalg.norm(composed, axis=1, keepdims=True)
    for text, length in zip(texts, lengths[:, 0], strict=True):
      if not length >= SHORTEST:
        raise InputError(
          f"Nothing is left to search for: the text {text[:50]!r} and the weights cancel the image (a query of length "
          f"{length:.1g}). Choose other weights."
        )
    features = composed / lengths
    return [
      Query(feature, float(norm), query.reference_id)
      for feature, norm, query in zip(features, norms, queries, strict=True)
    ]

  def unknown_words(self, texts: Iterable[str]) -> list[str]:
    """The words of texts that the model does not know, and leaves out, each once."""
    return list(dict.fromkeys(word for text in texts for word in self.bundle.unknown_words(text)))

  def rank(self, queries: Sequence[Query], k: int = 10, exclude: Collection[str] = ()) -> list[list[Result]]:
    """The `k` best images for each query, best first, ties in the order of their ids.

    Leaves out the images of `exclude`, and for each query the image of the index that it started from.
    """
    return self.rank_many(queries, [k] * len(queries), [exclude] * len(queries))

  def rank_many(
    self,
    queries: Sequence[Query],
    ks: Sequence[int],
    excludes: Sequence[Collection[str]],
    filters: Sequence[Filters] | None = None,
  ) -> list[list[Result]]:
    """`rank` for many queries, each with its own number of images, ids to leave out and filters that images pass.

    Queries with the same filters are one search.
    """
    if any(k < 1 for k in ks):
      raise InputError(f"k is {min(ks)}, expected at least 1")
    if not queries:
      return []
    left_out = [{query.reference_id, *exclude} - {None} for query, exclude in zip(queries, excludes, strict=True)]
    kept: list[list[tuple[str, float]]] = [[] for _ in queries]
    together: dict[Filters, list[int]] = {}
    for row, own in enumerate(filters or [()] * len(queries)):
      together.setdefault(own, []).append(row)
    for own, rows in together.items():
      features = _features([queries[row] for row in rows])
      found = self.index.search(features, max(ks[row] + len(left_out[row]) for row in rows), own)
      for row, hits in zip(rows, found, strict=True):
        kept[row] = [hit for hit in hits if hit[0] not in left_out[row]][: ks[row]]
    known = self.results(dict.fromkeys(id for hits in kept for id, _ in hits))
    return [[dataclasses.replace(known[id], score=score) for id, score in hits] for hits in kept]

  def results(self, ids: Iterable[str], query: Query | None = None) -> dict[str, Result]:
    """Results for images by their ids, in this order; scores are for the query, 0 without one."""
    ids = list(ids)
    rows = self.index.get(ids)
    scores = np.zeros(len(ids)) if query is None else rows.features @ query.feature
    return {
      entry.id: Result(entry.id, float(score), entry.caption, entry.path, thumbnail, entry.metadata)
      for entry, score, thumbnail in zip(rows.entries, scores, rows.thumbnails, strict=True)
    }

  def _compose(self, queries: Sequence[Query], texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    if self.bundle.composes_features:
      norms = np.array([query.norm for query in queries], np.float32)
      return self.bundle.compose_features_with_norms(_features(queries), texts, norms)
    images = [query.image for query in queries if query.image is not None]
    if len(images) < len(queries):
      raise InputError(
        "this bundle's composer needs the reference image itself: it cannot turn a composed query further, nor start "
        "from an image of the index whose file is not known"
      )
    return self.bundle.compose_with_norms(images, texts)


def _features(queries: Sequence[Query]) -> np.ndarray:
  return np.stack([query.feature for query in queries])
