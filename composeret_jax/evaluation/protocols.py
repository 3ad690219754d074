"""How each data set ranks its queries and counts one as answered: pure functions of ranks and labels.

Recalls are fractions. Ranks are gallery rows, best first, and NO_ROW where a query's gallery has no more.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
import dataclasses
import functools

from jaxtyping import Bool, Int
import numpy as np

from composeret_jax.evaluation.retrieval import NO_ROW
from data_pipelines.texts.labels import split_label

Labels = Sequence[str]


Ranks = Int[np.ndarray, "num_queries ranked"]


SubsetRanks = Int[np.ndarray, "num_queries num_members"]


Groups = tuple[Int[np.ndarray, " num_queries"], Int[np.ndarray, " num_gallery"]]


RECALL_AT = (1, 5, 10, 50, 100)


def same_label(
  ranks: Ranks, gallery_labels: Labels, target_labels: Labels, recall_at: Sequence[int] = RECALL_AT
) -> dict[str, float]:
  """R@K: the share of queries with an image of the target's label among the first K."""
  return recalls(_hits(ranks, gallery_labels, target_labels), recall_at)


def mit_states(ranks: Ranks, gallery_labels: Labels, target_labels: Labels) -> dict[str, float]:
  """`same_label` of "adjective noun", and the same for the adjective and for the noun alone."""
  metrics = same_label(ranks, gallery_labels, target_labels)
  for part, name in enumerate(("adjective", "noun")):
    gallery = [split_label(label)[part] for label in gallery_labels]
    targets = [split_label(label)[part] for label in target_labels]
    metrics |= {f"{name}/{key}": value for key, value in same_label(ranks, gallery, targets).items()}
  return metrics


def recalls(hits: Bool[np.ndarray, "num_queries ranked"], recall_at: Sequence[int] = RECALL_AT) -> dict[str, float]:
  """R@K for every K of `recall_at` from what is right at each rank."""
  return {f"R@{k}": float(hits[:, :k].any(axis=1).mean()) for k in recall_at}


def _hits(ranks: Ranks, gallery_labels: Labels, target_labels: Labels) -> Bool[np.ndarray, "num_queries ranked"]:
  return (np.asarray(gallery_labels)[ranks] == np.asarray(target_labels)[:, None]) & (ranks != NO_ROW)


def mean_average_precisions(
  ranks: Ranks, gallery_labels: Labels, right_labels: Sequence[Collection[str]], at: Sequence[int]
) -> dict[str, float]:
  """mAP@K for every K of `at`, where several images are right.

  A query's AP@K is the sum over its right images among the first K of (right images up to it) / (its rank), divided
  by K or by the number of its right labels, whichever is less: CIRCO's.
  """
  labels = np.asarray(gallery_labels)[ranks]
  hits = np.stack([np.isin(row, list(right)) for row, right in zip(labels, right_labels, strict=True)])
  hits &= ranks != NO_ROW
  precisions = hits * np.cumsum(hits, axis=1) / np.arange(1, ranks.shape[1] + 1)
  num_right = np.array([len(right) for right in right_labels])
  return {f"mAP@{k}": float((precisions[:, :k].sum(axis=1) / np.minimum(k, num_right)).mean()) for k in at}


def with_subset(metrics: Mapping[str, float], subset: Mapping[str, float]) -> dict[str, float]:
  """CIRR's table: `R@K`, `subset/R@K`, and `headline`, the average of R@5 and subset/R@1."""
  metrics = {**metrics, **{f"subset/{key}": value for key, value in subset.items()}}
  return metrics | {"headline": (metrics["R@5"] + metrics["subset/R@1"]) / 2}


def with_means(by_category: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
  """FashionIQ's table: `<category>/R@K`, the unweighted means `mean/R@K`, and `headline`.

  The headline is the average of the two means mean/R@10 and mean/R@50.
  """
  metrics = {f"{name}/{key}": value for name, own in by_category.items() for key, value in own.items()}
  keys = next(iter(by_category.values())).keys()
  metrics |= {f"mean/{key}": float(np.mean([own[key] for own in by_category.values()])) for key in keys}
  return metrics | {"headline": (metrics["mean/R@10"] + metrics["mean/R@50"]) / 2}


def one_gallery(gallery_labels: Labels, gallery_groups: Labels, query_groups: Labels) -> Groups:
  """Every query ranks the whole gallery."""
  return np.zeros(len(query_groups), int), np.zeros(len(gallery_labels), int)


def gallery_of_own_group(gallery_labels: Labels, gallery_groups: Labels, query_groups: Labels) -> Groups:
  """A query ranks the images of its own group."""
  numbers = {group: number for number, group in enumerate(dict.fromkeys(gallery_groups))}
  return np.array([numbers[group] for group in query_groups]), np.array([numbers[group] for group in gallery_groups])


def one_gallery_of_distinct_labels(gallery_labels: Labels, gallery_groups: Labels, query_groups: Labels) -> Groups:
  """Every query ranks the first image of each label: where labels name images, later ones are the same image again."""
  first = np.full(len(gallery_labels), -1)
  first[np.unique(np.asarray(gallery_labels), return_index=True)[1]] = 0
  return np.zeros(len(query_groups), int), first


@dataclasses.dataclass(frozen=True)
class Protocol:
  """One data set's way to rank and count.

  `count` gives the metrics of ranks, from their first `num_ranked`, the gallery's labels and the targets' labels.
  `groups` numbers queries and gallery images: a query ranks the images of its own number, its reference among them
  unless `excludes_reference`. `by_category` counts each group of queries by itself, and averages.
  `average_precision_at` counts all right images as well, `subset_recall_at` the target among the query's subset.
  """

  count: Callable[[Ranks, Labels, Labels], dict[str, float]] = same_label
  num_ranked: int = max(RECALL_AT)
  groups: Callable[[Labels, Labels, Labels], Groups] = one_gallery
  excludes_reference: bool = True
  by_category: bool = False
  average_precision_at: tuple[int, ...] = ()
  subset_recall_at: tuple[int, ...] = ()

  def metrics(
    self,
    ranks: Ranks,
    gallery_labels: Labels,
    target_labels: Labels,
    query_groups: Labels,
    *,
    right_labels: Sequence[Collection[str]] = (),
    subset_ranks: SubsetRanks | None = None,
  ) -> dict[str, float]:
    """All metrics of a set of queries, by name; `subset_ranks` are the images of each query's subset, best first."""
    if self.by_category:
      return self._means(ranks, gallery_labels, target_labels, query_groups)
    metrics = self.count(ranks, gallery_labels, target_labels)
    if self.average_precision_at:
      metrics |= mean_average_precisions(ranks, gallery_labels, right_labels, self.average_precision_at)
    if self.subset_recall_at:
      subset = same_label(subset_ranks, gallery_labels, target_labels, self.subset_recall_at)
      metrics = with_subset(metrics, subset)
    return metrics

  def _means(
    self, ranks: Ranks, gallery_labels: Labels, target_labels: Labels, query_groups: Labels
  ) -> dict[str, float]:
    targets, groups = np.asarray(target_labels), np.asarray(query_groups)
    by_category = {}
    for category in dict.fromkeys(query_groups):
      own = groups == category
      by_category[category] = self.count(ranks[own], gallery_labels, targets[own].tolist())
    return with_means(by_category)


PROTOCOLS: dict[str, Protocol] = {
  "same_label": Protocol(),
  "mit_states": Protocol(count=mit_states),
  "fashion200k": Protocol(count=functools.partial(same_label, recall_at=(1, 10, 50)), num_ranked=50),
  "css3d": Protocol(),
  "fashion_iq": Protocol(
    count=functools.partial(same_label, recall_at=(10, 50)),
    num_ranked=50,
    groups=gallery_of_own_group,
    excludes_reference=False,
    by_category=True,
  ),
  "fashion_iq_compose_ae": Protocol(
    groups=one_gallery_of_distinct_labels,
    excludes_reference=False,
    by_category=True,
  ),
  "cirr": Protocol(
    count=functools.partial(same_label, recall_at=(1, 5, 10, 50)), num_ranked=50, subset_recall_at=(1, 2, 3)
  ),
  "circo": Protocol(
    count=functools.partial(same_label, recall_at=(5, 10, 25, 50)),
    num_ranked=50,
    average_precision_at=(5, 10, 25, 50),
  ),
}
