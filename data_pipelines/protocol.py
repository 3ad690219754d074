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


# The group of images that are references alone: no query ranks them.
REFERENCE = "reference"


def gallery_without_references(gallery_labels: Labels, gallery_groups: Labels, query_groups: Labels) -> Groups:
  """Every query ranks all images outside the group REFERENCE."""
  numbers = np.array([-1 if group == REFERENCE else 0 for group in gallery_groups], int)
  return np.zeros(len(query_groups), int), numbers


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
    ranks_subset: a query ranks the images of its subset, and no others.
    by_category: counts each of the data set's option `categories` by itself, and averages.
    relevant_recall_at: the share of all right images that are among the first K is counted for each of these K.
    average_precision_at: mAP@K over all right images is counted for each of these K.
    subset_recall_at: R@K of the target among the query's subset is counted for each of these K.
    headline: the metrics whose mean is the headline; () for none.
  """

  dataset: str = ""
  recall_at: tuple[int, ...] = RECALL_AT
  num_ranked: int = max(RECALL_AT)
  label_parts: tuple[str, ...] = ()
  groups: Callable[[Labels, Labels, Labels], Groups] = one_gallery
  excludes_reference: bool = True
  ranks_subset: bool = False
  by_category: bool = False
  relevant_recall_at: tuple[int, ...] = ()
  average_precision_at: tuple[int, ...] = ()
  subset_recall_at: tuple[int, ...] = ()
  headline: tuple[str, ...] = ()

  def metric_names(self, categories: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of all metrics, in order; `categories` are those that a protocol with `by_category` counts."""
    recalls = [f"R@{k}" for k in self.recall_at]
    names = recalls + [f"{part}/{name}" for part in self.label_parts for name in recalls]
    names += [f"relevant/R@{k}" for k in self.relevant_recall_at]
    names += [f"mAP@{k}" for k in self.average_precision_at]
    names += [f"subset/R@{k}" for k in self.subset_recall_at]
    if self.by_category:
      names = [f"{group}/{name}" for group in (*categories, "mean") for name in names]
    return (*names, *([HEADLINE] if self.headline else []))

  def without_subsets(self) -> "Protocol":
    """The same for queries that have no subsets."""
    headline = () if any(name.startswith("subset/") for name in self.headline) else self.headline
    return dataclasses.replace(self, subset_recall_at=(), headline=headline)
