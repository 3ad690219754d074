"""How a data set's queries rank its gallery, and which metrics count what they find: data, declared by its builder."""

from collections.abc import Callable, Sequence
import dataclasses

from jaxtyping import Int
import numpy as np

Labels = Sequence[str]


Groups = tuple[Int[np.ndarray, " num_queries"], Int[np.ndarray, " num_gallery"]]


RECALL_AT = (1, 5, 10, 50, 100)


HEADLINE = "headline"


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

  Attributes:
    dataset: the only data set that has the labels or groups it reads; "" where any data set can be counted by it.
    recall_at: R@K is counted for each of these K.
    num_ranked: how many images of the gallery a query ranks.
    label_parts: names of the words of a label, each of which is counted by itself as well.
    groups: numbers queries and gallery images: a query ranks the images of its own number.
    excludes_reference: whether a query's reference is left out of what it ranks.
    by_category: counts each of the data set's option `categories` by itself, and averages.
    average_precision_at: mAP@K over all right images is counted for each of these K.
    subset_recall_at: R@K of the target among the query's subset is counted for each of these K.
  """

  dataset: str = ""
  recall_at: tuple[int, ...] = RECALL_AT
  num_ranked: int = max(RECALL_AT)
  label_parts: tuple[str, ...] = ()
  groups: Callable[[Labels, Labels, Labels], Groups] = one_gallery
  excludes_reference: bool = True
  by_category: bool = False
  average_precision_at: tuple[int, ...] = ()
  subset_recall_at: tuple[int, ...] = ()

  def metric_names(self, categories: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of all metrics, in order; `categories` are those that a protocol with `by_category` counts."""
    recalls = [f"R@{k}" for k in self.recall_at]
    if self.by_category:
      return (*(f"{group}/{name}" for group in (*categories, "mean") for name in recalls), HEADLINE)
    names = recalls + [f"{part}/{name}" for part in self.label_parts for name in recalls]
    names += [f"mAP@{k}" for k in self.average_precision_at]
    if self.subset_recall_at:
      names += [f"subset/R@{k}" for k in self.subset_recall_at] + [HEADLINE]
    return tuple(names)
