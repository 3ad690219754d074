"""Counts what queries found, as a protocol says: pure functions of rankings.

Recalls are fractions. Where scores are equal a query counts with its expectation over all orders of equal scores.
"""

from collections.abc import Collection, Mapping, Sequence

from jaxtyping import Bool, Float
import numpy as np

from composeret_jax.evaluation.ranking import Answers, Ranking
from composeret_jax.evaluation.ties import average_precisions, recalls, tied_at
from data_pipelines.protocol import HEADLINE, Labels, Protocol
from data_pipelines.texts.labels import split_label

# The share of queries whose recall at some K, or average precision, depends on the order of equal scores.
TIED_SHARE = "tied_share"


def answers_of(
  protocol: Protocol,
  gallery_labels: Labels,
  target_labels: Labels,
  right_labels: Sequence[Collection[str]] = (),
  reference_labels: Labels = (),
) -> Answers:
  """What is right by the target's label, by each of the protocol's `label_parts`, and by any of `right_labels`.

  `right_labels` are for protocols that count average precisions; a test server's queries have none. Where there are
  `reference_labels`, the last sense is what has the reference's own label.
  """
  senses: list[tuple[Sequence[str], Sequence[Collection[str]]]] = [(gallery_labels, [[t] for t in target_labels])]
  for number in range(len(protocol.label_parts)):
    gallery, targets = ([split_label(label)[number] for label in labels] for labels in (gallery_labels, target_labels))
    senses.append((gallery, [[target] for target in targets]))
  if protocol.average_precision_at:
    senses.append((gallery_labels, right_labels or [()] * len(target_labels)))
  if reference_labels:
    senses.append((gallery_labels, [[label] for label in reference_labels]))
  return Answers.of(*senses)


def count(
  protocol: Protocol, ranking: Ranking, query_groups: Labels, subset: Ranking | None = None
) -> dict[str, float]:
  """All metrics of a set of queries, by name: the protocol's `metric_names`, and TIED_SHARE.

  `ranking` has the protocol's answers, and so has `subset`, the ranking of each query's subset.
  """
  values = recalls(ranking, protocol.recall_at)
  is_tied = _is_between(values)
  if protocol.by_category:
    groups = np.asarray(query_groups)
    own = {group: _means(values[groups == group], "R", protocol.recall_at) for group in dict.fromkeys(query_groups)}
    return with_means(own) | {TIED_SHARE: float(is_tied.mean())}
  metrics = _means(values, "R", protocol.recall_at)
  for sense, part in enumerate(protocol.label_parts, start=1):
    values = recalls(ranking, protocol.recall_at, sense)
    is_tied |= _is_between(values)
    metrics |= _means(values, f"{part}/R", protocol.recall_at)
  if protocol.average_precision_at:
    sense = len(protocol.label_parts) + 1
    values = average_precisions(ranking, protocol.average_precision_at, sense)
    is_tied |= tied_at(ranking, protocol.average_precision_at, sense)
    metrics |= _means(values, "mAP", protocol.average_precision_at)
  if protocol.subset_recall_at:
    if subset is None:
      raise ValueError("subset is None, expected a ranking: the protocol counts recalls in each query's subset")
    values = recalls(subset, protocol.subset_recall_at)
    is_tied |= _is_between(values)
    metrics = with_subset(metrics, _means(values, "R", protocol.subset_recall_at))
  return metrics | {TIED_SHARE: float(is_tied.mean())}


def _is_between(values: Float[np.ndarray, "num_queries at"]) -> Bool[np.ndarray, " num_queries"]:
  return np.any((values > 0) & (values < 1), axis=1)


def _means(values: Float[np.ndarray, "num_queries at"], name: str, at: Sequence[int]) -> dict[str, float]:
  return {f"{name}@{k}": float(np.ascontiguousarray(own).mean()) for k, own in zip(at, values.T, strict=True)}


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
