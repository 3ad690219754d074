"""The prepared tables of a data set, as images and queries."""

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
import sys

import numpy as np

from data_pipelines.datasets.builder import EncodedImages, EncodedTexts, read_columns, TableBuilder
from data_pipelines.datasets.tables.rows import Query
from data_pipelines.folders import normal_name
from data_pipelines.input_error import InputError
from data_pipelines.tables import ImageTable, QueryTable
from data_pipelines.texts.templates import CAPTION, TextTemplate


class PreparedData:
  """Images and queries by split. A split's columns are read once."""

  def __init__(self, tables: Mapping[str, TableBuilder]):
    """`tables` come from `open_tables`."""
    self._tables = tables
    self._said = False
    self._columns: dict[tuple[str, str], dict[str, list]] = {}
    self.image_splits = tuple(tables["images"].info.splits)
    self.query_splits = tuple(tables["queries"].info.splits)

  @property
  def folder(self) -> pathlib.Path:
    """<prepared>/<data set>-<fingerprint> of <prepared>/<data set>-<fingerprint>/<data set>/images/<version>."""
    return pathlib.Path(self._tables["images"].data_path).parents[2]

  @property
  def version(self) -> str:
    """The version of the tables' layout."""
    return str(self._tables["images"].version)

  @property
  def num_left_out(self) -> Mapping[str, int]:
    """How many images and queries are missing in the raw files, as metrics by name."""
    return self._tables["queries"].info.metadata["num_left_out"]

  def images_of(self, split: str) -> str:
    """The split of the images that a split of queries refers to."""
    return self._tables["images"].images_of(split)

  def columns(self, table: str, split: str) -> dict[str, list]:
    """The columns of `labels` or `queries`; raises InputError where the table is damaged."""
    if (table, split) not in self._columns:
      self._columns[table, split] = read_columns(self._tables[table], split)
    return self._columns[table, split]

  def images(self, split: str) -> ImageTable:
    """All images of a split; raises InputError where the tables are damaged."""
    columns = self.columns("labels", split)
    self._say_names_that_are_not_normal(columns["name"])
    labels, builder = columns["label"], self._tables["images"]
    encoded = EncodedTexts(labels) if builder.images_are_texts else EncodedImages(builder, split)
    return ImageTable(columns["name"], labels, encoded, columns["group"])

  def _say_names_that_are_not_normal(self, names: Sequence[str]) -> None:
    """Older versions took `./a.jpg` and `a.jpg` of a catalogue's rows for two images."""
    is_catalogue = self._tables["images"].name == "catalogue"
    odd = [name for name in names if name != normal_name(name)] if is_catalogue else []
    if odd and not self._said:
      print(
        f"{self.folder} was prepared by an older version: of {len(odd):,} names such as {odd[0]} an image may be there "
        "twice. Delete this folder, and it is prepared again",
        file=sys.stderr,
      )
    self._said |= bool(odd)

  def queries(self, split: str, text_query: str, template: TextTemplate | None = None) -> QueryTable:
    """All queries of a split, with their texts of `text_query` or, with a template, in that.

    Raises InputError where the table is damaged, and where the template has a field that the raw files do not.
    """
    columns = self.columns("queries", split)
    table = _query_table(columns, text_query)
    return in_template(table, self._fields(split, template), template) if template else table

  def _fields(self, split: str, template: TextTemplate) -> list[Mapping[str, str]]:
    """The ids of each query; ids that the tables lack are read from the raw files."""
    captions = self.columns("queries", split)["modification"]
    if template.fields <= {CAPTION}:
      return [{CAPTION: caption} for caption in captions]
    queries = self._tables["queries"].read_queries(split)
    if [query.modification for query in queries] != captions:
      raise InputError(f"{self.folder} was prepared from other annotations: delete it, and it is prepared again")
    return [{CAPTION: query.modification} | dict(query.fields) for query in queries]


def in_template(queries: QueryTable, fields: Sequence[Mapping[str, str]], template: TextTemplate) -> QueryTable:
  """The queries with their texts as the template says; raises InputError for a field that one lacks."""
  texts = [template.fill(own, f"query {number}") for number, own in enumerate(fields)]
  first: list[str] = [own[0] for own in texts]
  variants: Sequence[tuple[str, ...]] = [own[1:] for own in texts]
  variants = variants if len(template.texts) > 1 else ()
  alternatives = [
    tuple(template.fill(dict(fields[number]) | {CAPTION: text}, f"query {number}")[0] for text in own)
    for number, own in enumerate(queries.alternatives)
  ]
  return dataclasses.replace(queries, texts=first, variants=variants, captions=queries.texts, alternatives=alternatives)


def query_table(queries: Sequence[Query], text_query: str) -> QueryTable:
  """Queries that no table holds, as one that is read from there."""
  names = [field.name for field in dataclasses.fields(Query)]
  return _query_table({name: [getattr(query, name) for query in queries] for name in names}, text_query)


def _query_table(columns: Mapping[str, list], text_query: str) -> QueryTable:
  right_labels, subsets, negatives, alternatives = (
    columns[name] if any(columns.get(name, ())) else ()
    for name in ("right_labels", "subset", "negatives", "alternatives")
  )
  if text_query == "complete":  # of catalogues, which have a category for it
    texts = zip(columns["group"], alternatives, strict=False)
    alternatives = [tuple(f"{group} {text}".strip() for text in own) for group, own in texts]
  return QueryTable(
    np.array(columns["reference"], np.int64),
    columns[text_query],
    columns["target_label"],
    columns["group"],
    columns["id"],
    right_labels,
    subsets,
    negatives,
    alternatives=alternatives,
  )
