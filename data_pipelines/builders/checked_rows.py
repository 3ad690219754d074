"""What every prepared table keeps to, whatever builder it comes from."""

from collections.abc import Sequence
import sys

from data_pipelines.builders.annotations import check_text, check_unicode, excerpt
from data_pipelines.builders.rows import Image, Query
from data_pipelines.input_error import InputError


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


def check_queries(queries: Sequence[Query], images: Sequence[Image], where: str, *, answered: bool = True) -> None:
  """Raises InputError, beginning with `where`, when there are none, or one without a text, a reference or a target.

  Queries that are there twice are kept, as data sets are published with them, and said on the terminal. Queries that
  are not `answered` are for a test server: they have no target, all must stay, and a blank text is one of no words.
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
    if answered and query.target_label not in labels:
      raise InputError(f"{where}: query {number} has the target {excerpt(query.target_label)}, which no image shows")
  num_blank = sum(not query.modification.strip() for query in queries)
  if num_blank:
    print(f"{where}: {num_blank:,} of {len(queries):,} texts are blank, and kept as texts of no words", file=sys.stderr)
  num_repeated = len(queries) - len(set(queries))
  if num_repeated:
    print(f"{where}: {num_repeated:,} of {len(queries):,} queries are there before, and are kept", file=sys.stderr)
