"""Evaluates a model on a data set's test queries: encode the gallery, compose the queries, rank, count."""

from collections.abc import Callable, Mapping
import dataclasses
import functools

import jax
from jaxtyping import Float, Int
import ml_collections
import numpy as np
import tqdm

from composeret_jax.distributed import full_batch, in_full_batches
from composeret_jax.evaluation.protocols import answers_of, count
from composeret_jax.evaluation.query_checks import check_gallery, unanswerable_queries
from composeret_jax.evaluation.ranking import Ranking
from composeret_jax.evaluation.reranking import cosines, rerank
from composeret_jax.evaluation.retrieval import check_features, rank_gallery, rank_subsets
from composeret_jax.evaluation.siblings import Siblings
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.models.variables import in_eval_mode, Variables
from data_pipelines.dataset import Dataset, num_loaders
from data_pipelines.datasets.prepare import PROTOCOLS
from data_pipelines.loader import image_batches
from data_pipelines.tables import ImageTable, QueryTable
from data_pipelines.texts.readers import TextReader

# Beside the composed query, under the same protocol, what each half of the query finds alone.
HALVES = ("image_only", "text_only")


# Before the metrics of the composed queries' ranks in the order that the text decoder changes.
RERANKED = "rerank"


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """`metrics` by name, recalls as fractions (`R@1`, `image_only/R@1`, ...), and what the composed queries found.

  `ranks` are never reranked.
  """

  metrics: Mapping[str, float]
  ranks: Int[np.ndarray, "num_queries ranked"]


@dataclasses.dataclass(frozen=True)
class Features:
  """What an evaluation compares. Queries and what they rank are on the sphere of the model's radius.

  `images` are the gallery's raw features, `text_only` the texts composed with `mean_reference`, the mean of what the
  composer takes of the gallery's images. `texts` are the queries' raw features, and `read_texts` those that the text
  decoder reads from the gallery's images, where ranks are reranked by them.
  """

  images: Float[np.ndarray, "num_gallery dim"]
  gallery: Float[np.ndarray, "num_gallery dim"]
  composed: Float[np.ndarray, "num_queries dim"]
  text_only: Float[np.ndarray, "num_queries dim"]
  mean_reference: Float[np.ndarray, "..."]
  texts: Float[np.ndarray, "num_queries text_dim"]
  read_texts: Float[np.ndarray, "num_gallery text_dim"] | None


@dataclasses.dataclass(frozen=True)
class Ranks:
  """What queries found in the gallery, best first, and how they ranked their subsets where the data set has these."""

  gallery: Ranking
  subsets: Ranking | None


class Evaluator:
  """Evaluates models of one structure on one data set; compiles once, whatever the parameters."""

  def __init__(self, model: RetrievalModel, dataset: Dataset, texts: TextReader, config: ml_collections.ConfigDict):
    """`config` is a run's whole configuration; `texts` gives what the model's text encoder reads.

    Raises InputError for a gallery that is empty or has an image twice and, unless the configuration allows them, for
    queries that no image of their gallery answers. Queries without targets can be ranked, not counted; of a gallery
    without queries only the features are of use.
    """
    check_gallery(dataset.gallery)
    self._dataset = dataset
    self._pixels = dataset.gallery_pixels
    self._texts = texts.encode(dataset.queries.texts)
    self._config = config
    self._protocol = PROTOCOLS[config.protocol]
    self._groups = self._protocol.groups(dataset.gallery.labels, dataset.gallery.groups, dataset.queries.groups)
    self._subsets = subset_rows(dataset.gallery, dataset.queries)
    labels, queries = dataset.gallery.labels, dataset.queries
    self._siblings = None
    if dataset.label_separator and queries.have_targets:
      self._siblings = Siblings(dataset.gallery, queries, dataset.label_separator)
    if self._subsets is None:  # validation queries have none, as training queries
      self._protocol = dataclasses.replace(self._protocol, subset_recall_at=())
    self._answers = answers_of(
      self._protocol,
      labels,
      queries.target_labels,
      queries.right_labels,
      reference_labels=[labels[row] for row in queries.references] if self._siblings else (),
    )
    self._left_out = dict(dataset.num_left_out)
    if dataset.queries.have_targets:
      self._left_out |= unanswerable_queries(
        dataset.gallery,
        dataset.queries,
        self._groups,
        excludes_reference=self._protocol.excludes_reference,
        allowed=config.eval.allow_unanswerable_queries,
      )
    self._batch_size = full_batch(config.eval.batch_size)
    compiled = functools.partial(in_eval_mode, model)
    self._encode_references = compiled(lambda model, pixels: model.encode_references(pixels))
    self._pool_references = compiled(lambda model, references: model.pool_references(references))
    self._encode_texts = compiled(lambda model, texts: model.encode_texts(texts))
    self._compose = compiled(lambda model, references, text: model.on_sphere(model.compose(references, text)))
    self._as_targets = compiled(lambda model, images: model.on_sphere(model.compose_targets(images)))
    self._read_texts = compiled(lambda model, image: model.composer.decode_text(image))

  def __call__(self, variables: Variables) -> Evaluation:
    """Metrics of the composed queries, and of their halves under `image_only/` and `text_only/`; what was left out."""
    return self.count(self.features(variables))

  def features(self, variables: Variables) -> Features:
    """Encodes the gallery and composes the queries."""
    texts = self._in_batches(self._encode_texts, variables, self._texts)
    images, composed, mean_reference = self._encode_and_compose(variables, texts)
    any_reference = np.broadcast_to(mean_reference, (len(texts), *mean_reference.shape))
    return Features(
      images=images,
      gallery=self._in_batches(self._as_targets, variables, images),
      composed=composed,
      text_only=self._in_batches(self._compose, variables, any_reference, texts),
      mean_reference=mean_reference,
      texts=texts,
      read_texts=self._in_batches(self._read_texts, variables, images) if self._config.eval.rerank else None,
    )

  def count(self, features: Features) -> Evaluation:
    """Ranks the gallery for the composed queries and for their halves, and counts.

    Raises NonFiniteError for features that are not finite: a ranking of them is none.
    """
    if not len(self._dataset.queries):
      check_features(gallery=features.gallery)
      return Evaluation(self._left_out, np.zeros((0, 0), int))
    composed, gallery = self.rank(features), features.gallery
    check_features(text_only=features.text_only)
    halves = gallery[self._dataset.queries.references], features.text_only
    found = {"": composed} | {f"{name}/": self._rank(half, gallery) for name, half in zip(HALVES, halves, strict=True)}
    if features.read_texts is not None:
      check_features(text=features.texts, decoded_text=features.read_texts)
      first = composed.gallery.rows[:, : self._config.eval.rerank]
      scores = cosines(features.composed, gallery, first)
      similarities = cosines(features.texts, features.read_texts, first)
      reranked = rerank(composed.gallery, scores, similarities, self._config.eval.rerank_weight)
      found[f"{RERANKED}/"] = dataclasses.replace(composed, gallery=reranked)
    metrics: dict[str, float] = {}
    vectors = {"": features.composed} | {f"{name}/": half for name, half in zip(HALVES, halves, strict=True)}
    for prefix, ranks in found.items():
      counted = count(self._protocol, ranks.gallery, self._dataset.queries.groups, ranks.subsets)
      if self._siblings and prefix in vectors:
        counted |= self._siblings.metrics(ranks.gallery, vectors[prefix], gallery)
      metrics |= {f"{prefix}{name}": value for name, value in counted.items()}
    return Evaluation(metrics | self._left_out, composed.gallery.rows)

  def rank(self, features: Features) -> Ranks:
    """What the composed queries find; raises NonFiniteError for features that are not finite."""
    check_features(gallery=features.gallery, composed=features.composed)
    return self._rank(features.composed, features.gallery)

  def _encode_and_compose(
    self, variables: Variables, texts: Float[np.ndarray, "num_queries text_dim"]
  ) -> tuple[Float[np.ndarray, "num_gallery dim"], Float[np.ndarray, "num_queries dim"], Float[np.ndarray, "..."]]:
    """The gallery's raw features, the composed queries on the sphere, and the mean reference.

    Each batch of the gallery is composed with the queries that refer to it and then let go: where references are maps,
    those of a whole gallery can be more than memory holds.
    """
    reference_of, size = self._dataset.queries.references, self._batch_size
    batches = image_batches(self._pixels, batch_size=size, num_workers=num_loaders(self._config.data))
    firsts = range(0, len(self._pixels), size)
    images, total, done, composed = [], np.zeros(()), [], []
    for first, pixels in zip(firsts, tqdm.tqdm(batches, "evaluate", len(firsts), leave=False), strict=True):
      references = self._in_batches(self._encode_references, variables, pixels)
      images.append(self._in_batches(self._pool_references, variables, references))
      total = total + references.sum(axis=0, dtype=np.float64)
      referring = np.flatnonzero((reference_of >= first) & (reference_of < first + len(pixels)))
      for start in range(0, len(referring), size):
        queries = referring[start : start + size]
        own = references[reference_of[queries] - first]
        composed.append(self._in_batches(self._compose, variables, own, texts[queries]))
        done.append(queries)
    if not done:  # a gallery without queries
      done, composed = [np.zeros(0, int)], [self._in_batches(self._compose, variables, references[:0], texts)]
    in_order = np.argsort(np.concatenate(done))
    mean = (total / len(self._dataset.gallery)).astype(np.float32)
    return np.concatenate(images), np.concatenate(composed)[in_order], mean

  def _in_batches(self, function: Callable, variables: Variables, *arrays: np.ndarray) -> Float[np.ndarray, "num ..."]:
    if not len(arrays[0]):
      row = [jax.ShapeDtypeStruct((1, *array.shape[1:]), array.dtype) for array in arrays]
      return np.zeros((0, *jax.eval_shape(function, variables, *row).shape[1:]), np.float32)
    return in_full_batches(functools.partial(function, variables), self._batch_size, *arrays)

  def _rank(self, queries: Float[np.ndarray, "num dim"], gallery: Float[np.ndarray, "num_gallery dim"]) -> Ranks:
    query_groups, gallery_groups = self._groups
    ranking = rank_gallery(
      queries,
      gallery,
      k=self._protocol.num_ranked,
      exclude=self._dataset.queries.references if self._protocol.excludes_reference else None,
      query_groups=query_groups,
      gallery_groups=gallery_groups,
      query_block=self._config.eval.query_block,
      gallery_block=self._config.eval.gallery_block,
      answers=self._answers,
    )
    subsets = None if self._subsets is None else rank_subsets(queries, gallery, self._subsets, self._answers)
    return Ranks(ranking, subsets)


def subset_rows(gallery: ImageTable, queries: QueryTable) -> Int[np.ndarray, "num_queries num_members"] | None:
  """The gallery rows of each query's subset; None where the data set has no subsets."""
  if not queries.subsets:
    return None
  rows = {label: row for row, label in enumerate(gallery.labels)}
  return np.array([[rows[label] for label in subset] for subset in queries.subsets])
