"""Counts what queries found, as a protocol says: pure functions of rankings.

Recalls are fractions. Where scores are equal a query counts with its expectation over all orders of equal scores.
"""

from collections.abc import Collection, Mapping, Sequence

from jaxtyping import Bool, Float
import numpy as np

from composeret_jax.evaluation.ranking import Answers, Ranking
from composeret_jax.evaluation.ties import average_precisions, recalls, relevant_recalls, tied_at
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
  """The right images by the target's label, by each of the protocol's `label_parts`, and by any of `right_labels`.

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
  values, is_tied = _of_each_query(protocol, ranking, subset)
  if protocol.by_category:
    groups = np.asarray(query_groups)
    own = {
      group: {name: _mean(column[groups == group]) for name, column in values.items()}
      for group in dict.fromkeys(query_groups)
    }
    metrics = with_means(own)
  else:
    metrics = {name: _mean(column) for name, column in values.items()}
  if protocol.headline:
    metrics[HEADLINE] = sum(metrics[name] for name in protocol.headline) / len(protocol.headline)
  return metrics | {TIED_SHARE: float(is_tied.mean())}


Values = dict[str, Float[np.ndarray, " num_queries"]]


def _of_each_query(
  protocol: Protocol, ranking: Ranking, subset: Ranking | None
) -> tuple[Values, Bool[np.ndarray, " num_queries"]]:
  """The worth of each query by each metric, and which queries' worth depends on the order of equal scores."""
  values: Values = {}
  is_tied = np.zeros(len(ranking.rows), bool)
  for sense, prefix in enumerate(["", *(f"{part}/" for part in protocol.label_parts)]):
    found = recalls(ranking, protocol.recall_at, sense)
    is_tied |= np.any((found > 0) & (found < 1), axis=1)
    values |= _columns(f"{prefix}R", protocol.recall_at, found)
  if protocol.relevant_recall_at:
    found = relevant_recalls(ranking, protocol.relevant_recall_at)
    values |= _columns("relevant/R", protocol.relevant_recall_at, found)
    is_tied |= tied_at(ranking, protocol.relevant_recall_at)
  if protocol.average_precision_at:
    sense = len(protocol.label_parts) + 1
    found = average_precisions(ranking, protocol.average_precision_at, sense)
    is_tied |= tied_at(ranking, protocol.average_precision_at, sense)
    values |= _columns("mAP", protocol.average_precision_at, found)
  if protocol.subset_recall_at:
    if subset is None:
      raise ValueError("subset is None, expected a ranking: the protocol counts recalls in each query's subset")
    found = recalls(subset, protocol.subset_recall_at)
    is_tied |= np.any((found > 0) & (found < 1), axis=1)
    values |= _columns("subset/R", protocol.subset_recall_at, found)
  return values, is_tied


def _columns(name: str, at: Sequence[int], values: Float[np.ndarray, "num_queries at"]) -> Values:
  return {f"{name}@{k}": own for k, own in zip(at, values.T, strict=True)}


def _mean(values: Float[np.ndarray, " num_queries"]) -> float:
  return float(np.ascontiguousarray(values).mean())


def with_means(by_category: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
  """`<category>/R@K` for each category, and the unweighted means `mean/R@K`."""
  metrics = {f"{name}/{key}": value for name, own in by_category.items() for key, value in own.items()}
  keys = next(iter(by_category.values())).keys()
  return metrics | {f"mean/{key}": float(np.mean([own[key] for own in by_category.values()])) for key in keys}
