"""Rows of the tables that a data set is prepared as, and what is checked of them."""

from collections.abc import Callable, Sequence
import dataclasses
import pathlib
import sys

from data_pipelines.datasets.annotations import check_text, check_unicode, excerpt
from data_pipelines.input_error import InputError

# The queries whose answers only a test server knows.
SUBMISSION = "submission"


@dataclasses.dataclass(frozen=True, slots=True)
class Image:
  """A row of the image table. `content` is an encoded image or the path of one.

  `group` is the part of the data set that the image belongs to, where it has parts (FashionIQ's categories).
  """

  name: str
  label: str
  content: bytes | pathlib.Path | Callable[[], bytes]
  group: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
  """A row of the query table: `reference` is a row of the image table, every image labelled `target_label` is right.

  `group` says which queries belong together, where that matters (FashionIQ's categories, CSS3D's modifications). Of
  some data sets a query has an `id`, several `right_labels`, the target's among them (CIRCO), a `subset`: labels of a
  few images to rank apart from all others (CIRR), or, of catalogues, `negatives`: labels of wrong answers, and
  `alternatives`: texts any of which may stand for the modification. Queries for a test server have no `target_label`.
  `fields` are more parts of its text by name, for templates; no table holds them.
  """

  reference: int
  modification: str
  complete: str
  target_label: str
  group: str = ""
  id: str = ""
  right_labels: tuple[str, ...] = ()
  subset: tuple[str, ...] = ()
  negatives: tuple[str, ...] = ()
  alternatives: tuple[str, ...] = ()
  fields: tuple[tuple[str, str], ...] = ()


def check_images(images: Sequence[Image], where: str) -> None:
  """Raises InputError, beginning with `where`, when there are none or a group has one twice."""
  if not images:
    raise InputError(f"{where}: no images")
  seen = set()
  for image in images:
    check_unicode(image.name + image.label + image.group, where)
    if (image.group, image.name) in seen:
      raise InputError(f"{where}: {excerpt(image.name)} is listed twice: a gallery holds an image once")
    seen.add((image.group, image.name))


def check_queries(
  queries: Sequence[Query],
  images: Sequence[Image],
  where: str,
  *,
  answered: bool = True,
  all_answered: bool = True,
) -> None:
  """Raises InputError, beginning with `where`, when there are none, or one without a text, a reference or a target.

  Queries that are there twice are kept, as data sets are published with them, and said on the terminal. Queries that
  are not `answered` are for a test server: they have no target, all must stay, and a blank text is one of no words.
  Unless `all_answered` some may have a target that no image shows.
  """
  if not queries:
    raise InputError(f"{where}: no queries")
  labels = {image.label for image in images}
  for number, query in enumerate(queries):
    for text in (query.modification, query.complete or query.modification):
      if answered or text.strip():
        check_text(text, f"{where}: query {number}")
    if not 0 <= query.reference < len(images):
      raise InputError(f"{where}: query {number} has image {query.reference} as its reference, of {len(images)}")
    if answered and all_answered and query.target_label not in labels:
      raise InputError(f"{where}: query {number} has the target {excerpt(query.target_label)}, which no image shows")
  num_blank = sum(not query.modification.strip() for query in queries)
  if num_blank:
    print(f"{where}: {num_blank:,} of {len(queries):,} texts are blank, and kept as texts of no words", file=sys.stderr)
  num_repeated = len(queries) - len(set(queries))
  if num_repeated:
    print(f"{where}: {num_repeated:,} of {len(queries):,} queries are there before, and are kept", file=sys.stderr)
