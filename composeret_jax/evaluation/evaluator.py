"""Evaluates a model on a data set's test queries: encode the gallery, compose the queries, rank, count."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools

import jax
from jaxtyping import Float, Int, Num
import ml_collections
import numpy as np
import tqdm

from composeret_jax.distributed import gather, in_own_batches, is_first, largest_share, own_batch
from composeret_jax.evaluation.protocols import answers_of, count
from composeret_jax.evaluation.query_checks import check_gallery, unanswerable_queries
from composeret_jax.evaluation.ranking import Answers, NO_ROW, Ranking
from composeret_jax.evaluation.reranking import cosines, rerank
from composeret_jax.evaluation.retrieval import check_features, rank_gallery, rank_subsets
from composeret_jax.evaluation.shares import Shares
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

  `ranks` are never reranked. `texts` is the template of the queries' texts, or which of the data set's texts they are.
  """

  metrics: Mapping[str, float]
  ranks: Int[np.ndarray, "num_queries ranked"]
  texts: str


@dataclasses.dataclass(frozen=True)
class Features:
  """The vectors that an evaluation compares. Queries and what they rank are on the sphere of the model's radius.

  `images` are the gallery's raw features, `text_only` the texts composed with `mean_reference`, the mean of what the
  composer takes of the gallery's images. `texts` is what it takes of the queries' first texts, and `read_texts` are the
  features that the text decoder reads from the gallery's images, where ranks are reranked by them.
  """

  images: Float[np.ndarray, "num_gallery dim"]
  gallery: Float[np.ndarray, "num_gallery dim"]
  composed: Float[np.ndarray, "num_queries dim"]
  text_only: Float[np.ndarray, "num_queries dim"]
  mean_reference: Float[np.ndarray, "..."]
  texts: Num[np.ndarray, "num_queries text_dim"]
  read_texts: Float[np.ndarray, "num_gallery text_dim"] | None


@dataclasses.dataclass(frozen=True)
class Ranks:
  """The images that queries found, best first, and the queries' rankings of their subsets, where there are any."""

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
    variants = zip(*dataset.queries.variants, strict=True)
    self._texts = [texts.encode(own) for own in (dataset.queries.texts, *map(list, variants))]
    self._config = config
    self._protocol = PROTOCOLS[config.protocol]
    self._groups = self._protocol.groups(dataset.gallery.labels, dataset.gallery.groups, dataset.queries.groups)
    self._subsets = subset_rows(dataset.gallery, dataset.queries)
    labels, queries = dataset.gallery.labels, dataset.queries
    self._siblings = None
    if dataset.label_separator and queries.have_targets:
      self._siblings = Siblings(dataset.gallery, queries, dataset.label_separator)
    if self._subsets is None:  # validation queries have none, as training queries
      self._protocol = self._protocol.without_subsets()
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
    self._shares = Shares.of(len(dataset.gallery), queries.references)
    compiled = functools.partial(in_eval_mode, model)
    self._encode_references = compiled(lambda model, pixels: model.encode_references(pixels))
    self._pool_references = compiled(lambda model, references: model.pool_references(references))
    self._encode_texts = compiled(lambda model, texts: model.encode_texts(texts))
    self._compose = compiled(lambda model, references, text: model.on_sphere(model.compose(references, text)))
    self._on_sphere = compiled(lambda model, features: model.on_sphere(features))
    self._as_targets = compiled(lambda model, images: model.on_sphere(model.compose_targets(images)))
    self._read_texts = compiled(lambda model, image: model.composer.decode_text(image))

  def __call__(self, variables: Variables) -> Evaluation:
    """Metrics of the composed queries, and of their halves under `image_only/` and `text_only/`; what was left out."""
    return self.count(self.features(variables))

  def features(self, variables: Variables) -> Features:
    """Encodes the gallery and composes the queries: each process its share, which all of them get.

    All processes call it together.
    """
    shares, queries = self._shares, self._shares.queries(self._shares.images())
    num_images, num_queries = largest_share(shares.num_images), shares.most_queries(slice(None))

    def of_images(function, rows):
      return shares.gather_images(self._in_batches(function, variables, num_images, rows))

    own_texts = [numbers[shares.order[queries]] for numbers in self._texts]
    texts = [self._in_batches(self._encode_texts, variables, num_queries, own) for own in own_texts]
    images, composed, mean_reference = self._encode_and_compose(variables, texts)
    any_reference = np.broadcast_to(mean_reference, (len(texts[0]), *mean_reference.shape))
    text_only = self._mean_composed(variables, num_queries, any_reference, texts)
    return Features(
      images=shares.gather_images(images),
      gallery=of_images(self._as_targets, images),
      composed=shares.gather_queries(composed),
      text_only=shares.gather_queries(text_only),
      mean_reference=mean_reference,
      texts=shares.gather_queries(texts[0]),
      read_texts=of_images(self._read_texts, images) if self._config.eval.rerank else None,
    )

  def count(self, features: Features) -> Evaluation:
    """Ranks the gallery for the composed queries and for their halves, and counts.

    Raises NonFiniteError for features that are not finite: a ranking of them is none.
    """
    if not len(self._dataset.queries):
      check_features(gallery=features.gallery)
      return Evaluation(self._left_out, np.zeros((0, 0), int), self._dataset.text_names)
    gallery = features.gallery
    check_features(gallery=gallery, composed=features.composed, text_only=features.text_only)
    halves = gallery[self._dataset.queries.references], features.text_only
    vectors = {"": features.composed} | {f"{name}/": half for name, half in zip(HALVES, halves, strict=True)}
    found = dict(zip(vectors, self._rank(*vectors.values(), gallery=gallery), strict=True))
    composed = found[""]
    if features.read_texts is not None:
      check_features(text=features.texts, decoded_text=features.read_texts)
      first = composed.gallery.rows[:, : self._config.eval.rerank]
      scores = cosines(features.composed, gallery, first)
      similarities = cosines(features.texts, features.read_texts, first)
      reranked = rerank(composed.gallery, scores, similarities, self._config.eval.rerank_weight)
      found[f"{RERANKED}/"] = dataclasses.replace(composed, gallery=reranked)
    metrics: dict[str, float] = {}
    for prefix, ranks in found.items():
      counted = count(self._protocol, ranks.gallery, self._dataset.queries.groups, ranks.subsets)
      if self._siblings and prefix in vectors:
        counted |= self._siblings.metrics(ranks.gallery, vectors[prefix], gallery)
      metrics |= {f"{prefix}{name}": value for name, value in counted.items()}
    return Evaluation(metrics | self._left_out, composed.gallery.rows, self._dataset.text_names)

  def rank(self, features: Features) -> Ranks:
    """The images that the composed queries find; raises NonFiniteError for features that are not finite."""
    check_features(gallery=features.gallery, composed=features.composed)
    return self._rank(features.composed, gallery=features.gallery)[0]

  def _encode_and_compose(
    self, variables: Variables, texts: Sequence[Num[np.ndarray, "own_queries text_dim"]]
  ) -> tuple[Float[np.ndarray, "own_images dim"], Float[np.ndarray, "own_queries dim"], Float[np.ndarray, "..."]]:
    """Raw features of this process's images, its composed queries on the sphere, and the mean reference of all.

    Each batch of the gallery is composed with the queries that refer to it and then let go: where references are maps,
    the maps of a whole gallery can be more than memory holds.
    """
    shares, size = self._shares, own_batch(self._config.eval.batch_size)
    own, num_batches = shares.images(), shares.num_batches(size)
    first_query = shares.queries(own).start
    batches = image_batches(
      self._pixels, own, batch_size=size, num_batches=num_batches, num_workers=num_loaders(self._config.data)
    )
    images, total, composed = [], np.zeros(()), []
    for number, pixels in enumerate(tqdm.tqdm(batches, "evaluate", num_batches, leave=False, disable=not is_first())):
      batch = slice(number * size, (number + 1) * size)
      references = self._in_batches(self._encode_references, variables, size, pixels)
      images.append(self._in_batches(self._pool_references, variables, size, references))
      total = total + references.sum(axis=0, dtype=np.float64)
      queries = shares.queries(own[batch])
      referred = references[shares.references[queries] - own[batch].start]
      own_texts = [variant[queries.start - first_query : queries.stop - first_query] for variant in texts]
      composed.append(self._mean_composed(variables, shares.most_queries(batch), referred, own_texts))
    totals = gather(total[None], [1] * jax.process_count())
    return np.concatenate(images), np.concatenate(composed), (totals.sum(axis=0) / len(self._pixels)).astype(np.float32)

  def _mean_composed(
    self, variables: Variables, most: int, references: np.ndarray, texts: Sequence[Num[np.ndarray, "num text_dim"]]
  ) -> Float[np.ndarray, "num dim"]:
    """The composed queries; with several texts of each their mean, on the sphere again."""
    composed = [self._in_batches(self._compose, variables, most, references, own) for own in texts]
    if len(composed) == 1:
      return composed[0]
    return self._in_batches(self._on_sphere, variables, most, np.asarray(np.mean(composed, axis=0, dtype=np.float32)))

  def _in_batches(
    self, function: Callable, variables: Variables, most: int, *arrays: np.ndarray
  ) -> Num[np.ndarray, "num ..."]:
    """`function` of this process's rows; `most` is the most that a process has."""
    if not most:
      row = [jax.ShapeDtypeStruct((1, *array.shape[1:]), array.dtype) for array in arrays]
      return np.zeros((0, *jax.eval_shape(function, variables, *row).shape[1:]), np.float32)
    return in_own_batches(functools.partial(function, variables), self._config.eval.batch_size, most, *arrays)

  def _rank(
    self, *vectors: Float[np.ndarray, "num_queries dim"], gallery: Float[np.ndarray, "num_gallery dim"]
  ) -> list[Ranks]:
    """The images that queries find by each of their `vectors`; the gallery goes to the devices once for all of them."""
    subsets, answers, times = self._subsets, self._answers, len(vectors)
    in_subsets = [None if subsets is None else rank_subsets(own, gallery, subsets, answers) for own in vectors]
    if self._protocol.ranks_subset:
      return [Ranks(own, None) for own in in_subsets if own]
    query_groups, gallery_groups = self._groups
    ranking = rank_gallery(
      np.concatenate(vectors),
      gallery,
      k=self._protocol.num_ranked,
      exclude=np.tile(self._dataset.queries.references, times) if self._protocol.excludes_reference else None,
      query_groups=None if query_groups is None else np.tile(query_groups, times),
      gallery_groups=gallery_groups,
      query_block=self._config.eval.query_block,
      gallery_block=self._config.eval.gallery_block,
      answers=Answers(answers.images, np.tile(answers.wanted, (times, 1, 1))),
    )
    return [Ranks(*own) for own in zip(ranking.split(times), in_subsets, strict=True)]


def subset_rows(gallery: ImageTable, queries: QueryTable) -> Int[np.ndarray, "num_queries num_members"] | None:
  """The gallery rows of each query's subset, NO_ROW after them; None where the data set has no subsets."""
  if not queries.subsets:
    return None
  row_of = {label: row for row, label in enumerate(gallery.labels)}
  rows = np.full((len(queries), max(map(len, queries.subsets))), NO_ROW)
  for query, subset in enumerate(queries.subsets):
    rows[query, : len(subset)] = [row_of[label] for label in subset]
  return rows
