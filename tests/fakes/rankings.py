"""Rankings from rows alone, and the counting of one order as it was before ties had a value."""

import numpy as np

from composeret_jax.evaluation.protocols import answers_of, count, TIED_SHARE
from composeret_jax.evaluation.ranking import NO_ROW, Ranking


def without_ties(rows, answers):
  """A ranking in which no two images have the same score."""
  return Ranking.complete(rows, -np.arange(rows.shape[1], dtype=np.float32) + np.zeros(rows.shape), answers)


def counted(protocol, rows, gallery_labels, target_labels, query_groups, right_labels=(), subset_rows=None):
  """The metrics of rows without ties, all but TIED_SHARE, which is 0."""
  answers = answers_of(protocol, gallery_labels, target_labels, right_labels)
  subset = None if subset_rows is None else without_ties(subset_rows, answers)
  metrics = count(protocol, without_ties(rows, answers), query_groups, subset)
  assert metrics.pop(TIED_SHARE) == 0
  return metrics


def recall_of_one_order(rows, gallery_labels, target_labels, at):
  """R@K in the order of the rows: the share of queries with a right image among the first K."""
  hits = (np.asarray(gallery_labels)[rows] == np.asarray(target_labels)[:, None]) & (rows != NO_ROW)
  return {f"R@{k}": float(hits[:, :k].any(axis=1).mean()) for k in at}


def average_precision_of_one_order(rows, gallery_labels, right_labels, at):
  """mAP@K in the order of the rows."""
  labels = np.asarray(gallery_labels)[rows]
  hits = np.stack([np.isin(row, list(right)) for row, right in zip(labels, right_labels, strict=True)])
  hits &= rows != NO_ROW
  precisions = hits * np.cumsum(hits, axis=1) / np.arange(1, rows.shape[1] + 1)
  num_right = np.array([len(right) for right in right_labels])
  return {f"mAP@{k}": float((precisions[:, :k].sum(axis=1) / np.minimum(k, num_right)).mean()) for k in at}
