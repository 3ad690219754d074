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


def check_queries(queries: Sequence[Query], images: Sequence[Image], where: str) -> None:
  """Raises InputError, beginning with `where`, when there are none, or one without a text, a reference or a target.

  Queries that are there twice are kept, as data sets are published with them, and said on the terminal.
  """
  if not queries:
    raise InputError(f"{where}: no queries")
  labels = {image.label for image in images}
  for number, query in enumerate(queries):
    check_text(query.modification, f"{where}: query {number}")
    check_text(query.complete or query.modification, f"{where}: query {number}")
    if not 0 <= query.reference < len(images):
      raise InputError(f"{where}: query {number} has image {query.reference} as its reference, of {len(images)}")
    if query.target_label not in labels:
      raise InputError(f"{where}: query {number} has the target {excerpt(query.target_label)}, which no image shows")
  num_repeated = len(queries) - len(set(queries))
  if num_repeated:
    print(f"{where}: {num_repeated:,} of {len(queries):,} queries are there before, and are kept", file=sys.stderr)
