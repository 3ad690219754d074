"""Rows of the tables that a builder gives."""

from collections.abc import Callable
import dataclasses
import pathlib


@dataclasses.dataclass(frozen=True)
class Image:
  """A row of the image table. `content` is an encoded image or the path of one.

  `group` is the part of the data set that the image belongs to, where it has parts (FashionIQ's categories).
  """

  name: str
  label: str
  content: bytes | pathlib.Path | Callable[[], bytes]
  group: str = ""


@dataclasses.dataclass(frozen=True)
class Query:
  """A row of the query table: `reference` is a row of the image table, every image labelled `target_label` is right.

  `group` says which queries belong together, where that matters (FashionIQ's categories, CSS3D's modifications). Of
  some data sets a query has an `id`, several `right_labels`, the target's among them (CIRCO), or a `subset`: labels of
  a few images to rank apart from all others (CIRR). Queries for a test server have no `target_label`.
  """

  reference: int
  modification: str
  complete: str
  target_label: str
  group: str = ""
  id: str = ""
  right_labels: tuple[str, ...] = ()
  subset: tuple[str, ...] = ()
