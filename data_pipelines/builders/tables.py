"""The tables that every data set is prepared as, and how they are read back."""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import pathlib
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
import tqdm


@dataclasses.dataclass(frozen=True)
class Image:
  """A row of the image table. `content` is an encoded image or the path of one."""

  name: str
  label: str
  content: bytes | pathlib.Path | Callable[[], bytes]


@dataclasses.dataclass(frozen=True)
class Query:
  """A row of the query table: `reference` is a row of the image table, every image labelled `target_label` is right."""

  reference: int
  modification: str
  complete: str
  target_label: str


FEATURES = {
  "images": {"image": tfds.features.Image(), "name": tfds.features.Text()},
  # Apart from the images, so that a run can read all labels without reading all images.
  "labels": {"name": tfds.features.Text(), "label": tfds.features.Text()},
  "queries": {
    "reference": np.int64,
    "modification": tfds.features.Text(),
    "complete": tfds.features.Text(),
    "target_label": tfds.features.Text(),
  },
}


class TableBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """A data set as three tables, each a builder configuration: `images`, `labels` (same rows) and `queries`.

  A subclass gives `read_images` and `read_queries`. Rows keep their order.
  """

  VERSION = tfds.core.Version("1.0.0")
  BUILDER_CONFIGS: ClassVar[list] = [tfds.core.BuilderConfig(name=name) for name in FEATURES]
  QUERY_SPLITS = ("train", "test")  # without "train" where training triplets are sampled

  @classmethod
  def check_raw_files(cls, folder: pathlib.Path) -> None:
    """Raises InputError when the folder that the user downloaded is not as the builder expects."""

  def read_images(self, split: str) -> Sequence[Image]:
    """All images of a split, in order."""
    raise NotImplementedError

  def read_queries(self, split: str) -> Sequence[Query]:
    """All queries of one of `QUERY_SPLITS`, in order."""
    raise NotImplementedError

  def _info(self) -> tfds.core.DatasetInfo:
    features = tfds.features.FeaturesDict(FEATURES[self.builder_config.name])
    return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True, description=self.__doc__)

  def _split_generators(self, dl_manager):
    self.raw_folder = dl_manager.manual_dir if self.MANUAL_DOWNLOAD_INSTRUCTIONS else None
    splits = self.QUERY_SPLITS if self.builder_config.name == "queries" else ("train", "test")
    return {split: self._generate_examples(split) for split in splits}

  def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
    table = self.builder_config.name
    rows = self.read_queries(split) if table == "queries" else self.read_images(split)
    for i, row in enumerate(tqdm.tqdm(rows, desc=f"{self.name} {split} {table}", unit=" rows")):
      yield i, _example(table, row)


def _example(table: str, row: Image | Query) -> dict:
  if table == "queries":
    return dataclasses.asdict(row)
  if table == "labels":
    return {"name": row.name, "label": row.label}
  return {"name": row.name, "image": row.content() if callable(row.content) else row.content}


class EncodedImages(Sequence[bytes]):
  """Random access to the encoded images of a prepared split; can be sent to another process."""

  def __init__(self, builder: TableBuilder, split: str):
    self._source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, row: int) -> bytes:
    return self._source[row]["image"]


def read_columns(builder: TableBuilder, split: str) -> dict[str, list]:
  """The columns of a prepared table of texts and numbers."""
  rows = list(builder.as_data_source(split))
  return {name: [_plain(row[name]) for row in rows] for name in builder.info.features}


def _plain(value):
  return value.decode() if isinstance(value, bytes) else int(value)
