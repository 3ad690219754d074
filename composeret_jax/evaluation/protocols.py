"""Counts what queries found, as a protocol says: pure functions of ranks and labels.

Recalls are fractions. Ranks are gallery rows, best first, and NO_ROW where a query's gallery has no more.
"""

from collections.abc import Collection, Mapping, Sequence

from jaxtyping import Bool, Int
import numpy as np

from composeret_jax.evaluation.retrieval import NO_ROW
from data_pipelines.protocol import HEADLINE, Labels, Protocol, RECALL_AT
from data_pipelines.texts.labels import split_label

Ranks = Int[np.ndarray, "num_queries ranked"]


SubsetRanks = Int[np.ndarray, "num_queries num_members"]


def same_label(
  ranks: Ranks, gallery_labels: Labels, target_labels: Labels, recall_at: Sequence[int] = RECALL_AT
) -> dict[str, float]:
  """R@K: the share of queries with an image of the target's label among the first K."""
  return recalls(_hits(ranks, gallery_labels, target_labels), recall_at)


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
  return metrics | {HEADLINE: (metrics["R@5"] + metrics["subset/R@1"]) / 2}


def with_means(by_category: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
  """FashionIQ's table: `<category>/R@K`, the unweighted means `mean/R@K`, and `headline`.

  The headline is the average of the two means mean/R@10 and mean/R@50.
  """
  metrics = {f"{name}/{key}": value for name, own in by_category.items() for key, value in own.items()}
  keys = next(iter(by_category.values())).keys()
  metrics |= {f"mean/{key}": float(np.mean([own[key] for own in by_category.values()])) for key in keys}
  return metrics | {HEADLINE: (metrics["mean/R@10"] + metrics["mean/R@50"]) / 2}


def count(
  protocol: Protocol,
  ranks: Ranks,
  gallery_labels: Labels,
  target_labels: Labels,
  query_groups: Labels,
  *,
  right_labels: Sequence[Collection[str]] = (),
  subset_ranks: SubsetRanks | None = None,
) -> dict[str, float]:
  """All metrics of a set of queries, by name: the protocol's `metric_names`.

  `right_labels` and `subset_ranks`, the images of each query's subset, best first, are for protocols that count them.
  """
  if protocol.by_category:
    return _means(protocol, ranks, gallery_labels, target_labels, query_groups)
  metrics = same_label(ranks, gallery_labels, target_labels, protocol.recall_at)
  for number, part in enumerate(protocol.label_parts):
    gallery, targets = ([split_label(label)[number] for label in labels] for labels in (gallery_labels, target_labels))
    own = same_label(ranks, gallery, targets, protocol.recall_at)
    metrics |= {f"{part}/{name}": value for name, value in own.items()}
  if protocol.average_precision_at:
    metrics |= mean_average_precisions(ranks, gallery_labels, right_labels, protocol.average_precision_at)
  if protocol.subset_recall_at:
    subset = same_label(subset_ranks, gallery_labels, target_labels, protocol.subset_recall_at)
    metrics = with_subset(metrics, subset)
  return metrics


def _means(
  protocol: Protocol, ranks: Ranks, gallery_labels: Labels, target_labels: Labels, query_groups: Labels
) -> dict[str, float]:
  targets, groups = np.asarray(target_labels), np.asarray(query_groups)
  by_category = {}
  for category in dict.fromkeys(query_groups):
    own = groups == category
    by_category[category] = same_label(ranks[own], gallery_labels, targets[own].tolist(), protocol.recall_at)
  return with_means(by_category)
