"""How each data set counts a query as answered: pure functions of ranks and labels. Recalls are fractions."""

from collections.abc import Callable, Sequence

from jaxtyping import Bool, Int
import numpy as np

from data_pipelines.builders.mit_states import split_label

Ranks = Int[np.ndarray, "num_queries ranked"]
Protocol = Callable[[Ranks, Sequence[str], Sequence[str]], dict[str, float]]

RECALL_AT = (1, 5, 10, 50, 100)


def same_label(ranks: Ranks, gallery_labels: Sequence[str], target_labels: Sequence[str]) -> dict[str, float]:
  """R@K: the share of queries with an image of the target's label among the first K.

  `ranks` holds gallery rows, best first, the query's own image already left out.
  """
  return recalls(_hits(ranks, gallery_labels, target_labels))


def mit_states(ranks: Ranks, gallery_labels: Sequence[str], target_labels: Sequence[str]) -> dict[str, float]:
  """`same_label` of "adjective noun", and the same for the adjective and for the noun alone."""
  metrics = same_label(ranks, gallery_labels, target_labels)
  for part, name in enumerate(("adjective", "noun")):
    gallery = [split_label(label)[part] for label in gallery_labels]
    targets = [split_label(label)[part] for label in target_labels]
    metrics |= {f"{name}/{key}": value for key, value in same_label(ranks, gallery, targets).items()}
  return metrics


def recalls(hits: Bool[np.ndarray, "num_queries ranked"]) -> dict[str, float]:
  """R@K for every K of RECALL_AT from what is right at each rank."""
  return {f"R@{k}": float(hits[:, :k].any(axis=1).mean()) for k in RECALL_AT}


def _hits(ranks: Ranks, gallery_labels: Sequence[str], target_labels: Sequence[str]) -> Bool[np.ndarray, "..."]:
  return np.asarray(gallery_labels)[ranks] == np.asarray(target_labels)[:, None]


PROTOCOLS: dict[str, Protocol] = {"same_label": same_label, "mit_states": mit_states}
