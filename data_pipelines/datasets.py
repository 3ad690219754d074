"""A data set, prepared and opened: what training and evaluation read."""

import dataclasses

import ml_collections
import numpy as np

from data_pipelines.builders.prepare import open_tables
from data_pipelines.builders.tables import EncodedImages, read_columns, TableBuilder
from data_pipelines.queries.listed import ListedSampler
from data_pipelines.queries.mit_states import AdjectiveSampler
from data_pipelines.queries.tables import ImageTable, QueryTable, TripletSampler


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Training images and their triplets; the test gallery and its queries."""

  train_images: ImageTable
  train_triplets: TripletSampler
  gallery: ImageTable
  queries: QueryTable


def open_dataset(config: ml_collections.ConfigDict, text_query: str) -> Dataset:
  """Opens the data set that `config` (the `data` part of a run's configuration) names, preparing it when it is missing.

  `text_query` is "modification" or "complete". Raises InputError when the raw files are not as expected.
  """
  tables = open_tables(config.dataset, config.dir, config.prepared_dir)
  train_images = _images(tables, "train")
  return Dataset(
    train_images=train_images,
    train_triplets=_train_triplets(config.dataset, tables, train_images, text_query),
    gallery=_images(tables, "test"),
    queries=_queries(tables["queries"], "test", text_query),
  )


def _train_triplets(
  dataset: str, tables: dict[str, TableBuilder], images: ImageTable, text_query: str
) -> TripletSampler:
  if dataset == "mit_states":
    return AdjectiveSampler(images.labels, complete_text=text_query == "complete")
  return ListedSampler(_queries(tables["queries"], "train", text_query), images.labels)


def _images(tables: dict[str, TableBuilder], split: str) -> ImageTable:
  columns = read_columns(tables["labels"], split)
  return ImageTable(columns["name"], columns["label"], EncodedImages(tables["images"], split))


def _queries(table: TableBuilder, split: str, text_query: str) -> QueryTable:
  columns = read_columns(table, split)
  return QueryTable(np.array(columns["reference"], np.int64), columns[text_query], columns["target_label"])
