"""Checks that images of the gallery answer the queries: no ranking can find what is not there."""

from collections import Counter
from collections.abc import Iterable
import sys

from composeret_jax.distributed import is_first
from data_pipelines.input_error import InputError
from data_pipelines.protocol import Groups
from data_pipelines.tables import ImageTable, QueryTable

NUM_SHOWN = 5


def check_gallery(gallery: ImageTable) -> None:
  """Raises InputError for a gallery without images, and for one with an image twice in one group."""
  if not len(gallery):
    raise InputError("the gallery is empty, expected images to rank")
  images = Counter(zip(gallery.groups, gallery.names, strict=True))
  repeated = [name for (_, name), count in images.items() if count > 1]
  if repeated:
    raise InputError(f"the gallery has {len(repeated):,} images more than once: {_some(map(repr, repeated))}")


def unanswerable_queries(
  gallery: ImageTable, queries: QueryTable, groups: Groups, *, excludes_reference: bool, allowed: bool
) -> dict[str, int]:
  """Queries without a right image among those that they rank, as the metric `num_unanswerable_queries`; {} for none.

  `groups` and `excludes_reference` are the protocol's. Raises InputError that lists the first ones unless they are
  `allowed`, and when there are no queries at all.
  """
  if not len(queries):
    raise InputError("there are no queries, expected one or more to evaluate")
  query_groups, gallery_groups = (group.tolist() for group in groups)
  of_image = list(zip(gallery_groups, gallery.labels, strict=True))
  num_right = Counter(of_image)
  rows = []
  for row, wanted in enumerate(zip(query_groups, queries.target_labels, strict=True)):
    is_own_reference = excludes_reference and of_image[queries.references[row]] == wanted
    if num_right[wanted] <= is_own_reference:
      rows.append(row)
  if not rows:
    return {}
  shown = _some(f"query {row} ({queries.texts[row]!r}, target {queries.target_labels[row]!r})" for row in rows)
  message = f"{len(rows):,} of {len(queries):,} queries have no right image in their gallery: {shown}"
  if not allowed:
    raise InputError(f"{message}. config.eval.allow_unanswerable_queries=True counts them as misses")
  if is_first():
    print(f"{message}. They count as misses.", file=sys.stderr)
  return {"num_unanswerable_queries": len(rows)}


def _some(texts: Iterable[str]) -> str:
  texts = list(texts)
  return ", ".join(texts[:NUM_SHOWN]) + (", ..." if len(texts) > NUM_SHOWN else "")
