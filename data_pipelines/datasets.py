"""A data set, prepared and opened: what training and evaluation read."""

from collections.abc import Mapping
import dataclasses

import ml_collections
import numpy as np

from data_pipelines.builders.prepare import BUILDERS, open_tables
from data_pipelines.builders.tables import EncodedImages, read_columns, TableBuilder
from data_pipelines.input_error import InputError
from data_pipelines.queries.css3d import ModificationSampler
from data_pipelines.queries.fashion200k import CaptionSampler
from data_pipelines.queries.listed import ListedSampler
from data_pipelines.queries.mit_states import AdjectiveSampler
from data_pipelines.queries.tables import ImageTable, QueryTable, TripletSampler


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Training images and their triplets; the test gallery and its queries.

  `num_left_out` says how many images and queries are left out because images are missing, as metrics by name.
  """

  train_images: ImageTable
  train_triplets: TripletSampler
  gallery: ImageTable
  queries: QueryTable
  num_left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)


def open_dataset(config: ml_collections.ConfigDict, text_query: str) -> Dataset:
  """Opens the data set that `config` (the `data` part of a run's configuration) names, preparing it when it is missing.

  `text_query` is "modification" or "complete". Raises InputError when the data set does not have it, or the raw files
  are not as expected.
  """
  text_queries = BUILDERS[config.dataset].TEXT_QUERIES
  if text_query not in text_queries:
    raise InputError(f"config.text_query is {text_query!r}, {config.dataset} has only {', '.join(text_queries)}")
  tables = prepare(config)
  train_images = _images(tables, "train")
  return Dataset(
    train_images=train_images,
    train_triplets=_train_triplets(config.dataset, tables, train_images, text_query),
    gallery=_images(tables, "test"),
    queries=_queries(tables["queries"], "test", text_query),
    num_left_out=tables["queries"].info.metadata["num_left_out"],
  )


def prepare(config: ml_collections.ConfigDict) -> dict[str, TableBuilder]:
  """The tables of the data set that `config` names, built when they are missing; raises InputError as `open_tables`."""
  options = {name: config[name] for name in BUILDERS[config.dataset].OPTIONS}
  return open_tables(config.dataset, config.dir, config.prepared_dir, options)


def _train_triplets(
  dataset: str, tables: dict[str, TableBuilder], images: ImageTable, text_query: str
) -> TripletSampler:
  complete = text_query == "complete"
  if dataset == "mit_states":
    return AdjectiveSampler(images.labels, complete_text=complete)
  if dataset == "fashion200k":
    return CaptionSampler(images.labels, complete_text=complete)
  queries = _queries(tables["queries"], "train", text_query)
  if dataset == "css3d":
    return ModificationSampler(queries, images.labels)
  return ListedSampler(queries, images.labels)


def _images(tables: dict[str, TableBuilder], split: str) -> ImageTable:
  columns = read_columns(tables["labels"], split)
  return ImageTable(columns["name"], columns["label"], EncodedImages(tables["images"], split), columns["group"])


def _queries(table: TableBuilder, split: str, text_query: str) -> QueryTable:
  columns = read_columns(table, split)
  references = np.array(columns["reference"], np.int64)
  return QueryTable(references, columns[text_query], columns["target_label"], columns["group"])
