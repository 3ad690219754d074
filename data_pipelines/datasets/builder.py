"""The tables that every data set is prepared as, and how they are read back."""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import pathlib
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from data_pipelines.buckets.raw_files import RawFiles
from data_pipelines.datasets.beam import beam_rows
from data_pipelines.datasets.tables.kept_columns import FEWEST, keep_columns, kept_file, read_kept_columns
from data_pipelines.datasets.tables.rows import check_images, check_queries, Image, Query, SUBMISSION
from data_pipelines.field_rules import Rule, Together
from data_pipelines.input_error import InputError
from data_pipelines.protocol import Protocol
from data_pipelines.samplers import ListedSampler
from data_pipelines.tables import ImageTable, QueryTable, TripletSampler

NAMES = tfds.features.Sequence(tfds.features.Text())
FEATURES = {
  "images": {"image": tfds.features.Image(), "name": tfds.features.Text()},
  # Apart from the images, so that a run can read all labels without reading all images.
  "labels": {"name": tfds.features.Text(), "label": tfds.features.Text(), "group": tfds.features.Text()},
  "queries": {
    "reference": np.int64,
    "modification": tfds.features.Text(),
    "complete": tfds.features.Text(),
    "target_label": tfds.features.Text(),
    "group": tfds.features.Text(),
    "id": tfds.features.Text(),
    "right_labels": NAMES,
    "subset": NAMES,
  },
}


def named(folder: pathlib.Path | None) -> pathlib.Path:
  """The folder that config.data.dir names; raises InputError where it names none."""
  if folder is None:
    raise InputError("data.dir is not set: it names the folder of the data set's files")
  return folder


class _InfoOfOwnFiles(tfds.core.DatasetInfo):
  """Facts about a table, which TFDS' bucket does not have: each look there leaves a temporary folder."""

  def initialize_from_bucket(self) -> None:
    """Does nothing."""


class TableBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
  """A data set as three tables, each a builder configuration: `images`, `labels` (same rows) and `queries`.

  A subclass gives `read_images` and `read_queries`. Rows keep their order.
  """

  VERSION = tfds.core.Version("1.2.0")
  BUILDER_CONFIGS: ClassVar[list] = [tfds.core.BuilderConfig(name=name) for name in FEATURES]
  IMAGE_SPLITS: tuple[str, ...] = ("train", "test")  # without "train" where there is nothing to train on
  PUBLISHED_AS: ClassVar[Mapping[str, str]] = {}  # splits that have another name where the data set is published
  QUERY_SPLITS: tuple[str, ...] = ("train", "test")  # without "train" where training triplets are sampled
  TEXT_QUERIES: tuple[str, ...] = ("modification", "complete")
  ALL_ANSWERED = True  # False where queries are published that no image of the gallery answers
  PROTOCOLS: ClassVar[Mapping[str, Protocol]] = {"same_label": Protocol()}  # by the names that config.protocol takes
  OPTIONS: ClassVar[Mapping[str, Rule]] = {}  # the fields of config.data that change what is prepared
  TOGETHER: ClassVar[tuple[Together, ...]] = ()  # rules for several of OPTIONS
  images_are_texts: ClassVar[bool] = False  # rows of the image table are texts, whose features stand for images'

  def __init_subclass__(cls, skip_registration: bool = True, **arguments: Any):
    """Keeps data sets out of TFDS's registry, whose names BUILDERS does not use."""
    super().__init_subclass__(skip_registration=skip_registration, **arguments)

  def __init__(
    self,
    *,
    options: Mapping[str, Any] | None = None,
    raw_folder: pathlib.Path | RawFiles | None = None,
    on_beam: bool = False,
    **arguments,
  ):
    """`options`, `raw_folder` and `on_beam` are needed to prepare, not to open what is prepared.

    Files in a bucket are fetched when they are first read. `on_beam` says whether Apache Beam writes the tables.
    `arguments` are TFDS's.
    """
    self.options = options or {}
    self._raw_folder = raw_folder
    self.on_beam = on_beam
    super().__init__(**arguments)

  @property
  def raw_folder(self) -> pathlib.Path | None:
    """The raw files' folder on this machine, where the data set has one."""
    return self._raw_folder.folder if isinstance(self._raw_folder, RawFiles) else self._raw_folder

  @property
  def folder(self) -> pathlib.Path:
    """The `raw_folder` of a data set that needs one; raises InputError where there is none."""
    return named(self.raw_folder)

  @classmethod
  def needs_raw_folder(cls, options: Mapping[str, Any]) -> bool:
    """Whether it cannot do without a folder that the user names."""
    return bool(cls.MANUAL_DOWNLOAD_INSTRUCTIONS)

  @classmethod
  def fingerprinted(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Values that identify prepared tables, beside the names and sizes of the raw files."""
    return options

  @classmethod
  def check_raw_files(cls, folder: pathlib.Path, options: Mapping[str, Any]) -> None:
    """Raises InputError when the folder that the user downloaded is not as the builder expects."""

  @classmethod
  def check_expected(cls, folder: pathlib.Path, found: Mapping[str, bool]) -> None:
    """Raises InputError that says what `folder` lacks, what it has instead and where to get it, unless all is found."""
    lacking = [name for name, there in found.items() if not there]
    if lacking:
      entries = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) if folder.is_dir() else "no such folder"
      raise InputError(
        f"data.dir: {folder} has no {', '.join(lacking)} (found: {entries or 'nothing'})\n"
        f"{cls.MANUAL_DOWNLOAD_INSTRUCTIONS}"
      )

  @classmethod
  def missing_images(cls, folder: pathlib.Path | None, options: Mapping[str, Any]) -> Sequence[str]:
    """The images that the annotations in `folder` name and the disk lacks, where the builder can do without."""
    return ()

  @classmethod
  def images_of(cls, split: str) -> str:
    """The split of the images that a split of queries refers to: where it has no images of its own, "test"."""
    return split if split in cls.IMAGE_SPLITS else "test"

  @classmethod
  def label_separator(cls, options: Mapping[str, Any]) -> str:
    """The separator between the words of a label; "" where labels do not tell what images share."""
    return ""

  @classmethod
  def sampler(cls, images: ImageTable, queries: QueryTable, text_query: str) -> TripletSampler:
    """Draws training triplets of the training images; by default every query that is listed.

    `queries` is empty where the prepared data lists none. `text_query` says which of TEXT_QUERIES the texts are. Raises
    InputError where there are no triplets to draw.
    """
    return ListedSampler(queries, images.labels)

  @classmethod
  def held_out_by(cls, label: str) -> str:
    """The part of a label that decides whether its images are for validation: images that share it stay together."""
    return label

  @classmethod
  def queries_between(cls, images: Sequence[Image]) -> Sequence[Query]:
    """Queries between some training images, of data sets that list none for training."""
    return ()

  @classmethod
  def forget(cls) -> None:
    """Drops what its tables were prepared from; called when all are there."""

  def has_split(self, split: str) -> bool:
    """Whether the raw files have what a split needs."""
    return True

  def num_left_out(self) -> Mapping[str, int]:
    """Metrics by name that count what is left out because images are missing; kept with the prepared tables."""
    return {}

  def read_images(self, split: str) -> Sequence[Image]:
    """All images of a split, in order."""
    raise NotImplementedError

  def read_queries(self, split: str) -> Sequence[Query]:
    """All queries of one of `QUERY_SPLITS`, in order."""
    raise NotImplementedError

  def checked_rows(self, split: str) -> Sequence[Image] | Sequence[Query]:
    """The rows of this builder's own table; raises InputError where they cannot be used."""
    where = f"{self.raw_folder or self.name}, {split}"
    images = self.read_images(self.images_of(split))
    check_images(images, where)
    if self.builder_config.name != "queries":
      return images
    queries = self.read_queries(split)
    check_queries(queries, images, where, answered=split != SUBMISSION, all_answered=self.ALL_ANSWERED)
    return queries

  def columns(self) -> dict[str, Any]:
    """The features of this builder's own table, by name."""
    return dict(FEATURES[self.builder_config.name])

  def _info(self) -> tfds.core.DatasetInfo:
    features = tfds.features.FeaturesDict(self.columns())
    return _InfoOfOwnFiles(
      builder=self,
      features=features,
      disable_shuffling=True,
      description=self.__doc__,
      metadata=tfds.core.MetadataDict(),
    )

  def _split_generators(self, dl_manager):
    self.info.metadata["num_left_out"] = dict(self.num_left_out())
    splits = self.QUERY_SPLITS if self.builder_config.name == "queries" else self.IMAGE_SPLITS
    return {split: self._generate_examples(split) for split in splits if self.has_split(split)}

  def _generate_examples(self, split: str) -> Any:
    """One by one, or a transform of Beam: rows are read and checked here, its workers read the images."""
    table, rows, names = self.builder_config.name, self.checked_rows(split), tuple(self.columns())
    if self.on_beam:
      return beam_rows(rows, _example, names)

    def one_by_one() -> Iterator[tuple[int, dict]]:
      for i, row in enumerate(tqdm.tqdm(rows, desc=f"{self.name} {split} {table}", unit=" rows")):
        yield i, _example(names, row)

    return one_by_one()


def _example(columns: Sequence[str], row: Image | Query) -> dict:
  """A row as the table with these columns keeps it; raises InputError where its image cannot be read."""
  if isinstance(row, Query):
    return {name: getattr(row, name) for name in columns}
  if "image" not in columns:
    return {"name": row.name, "label": row.label, "group": row.group}
  if callable(row.content):
    return {"name": row.name, "image": row.content()}
  try:
    encoded = row.content if isinstance(row.content, bytes) else row.content.read_bytes()
  except OSError as error:
    raise InputError(f"{row.content!s} cannot be read: {error.strerror}") from error
  return {"name": row.name, "image": encoded}


@contextlib.contextmanager
def damage_named(table: pathlib.Path) -> Iterator[None]:
  """Raises InputError with the folder of a prepared table where it cannot be read, and says what to do."""
  try:
    yield
  except (InputError, MemoryError):
    raise
  except PermissionError as error:
    raise InputError(f"{error.filename or table} cannot be read: {error.strerror}") from error
  except Exception as error:  # of JSON, protocol buffers, array_record, NumPy
    reason = str(error).partition("\n")[0][:200]
    raise InputError(f"{table} is damaged ({reason}): delete this folder, and it is prepared again") from error


class EncodedImages:
  """Random access to the encoded images of a prepared split; can be sent to another process."""

  def __init__(self, builder: TableBuilder, split: str):
    """Raises InputError, as `damage_named`."""
    self._folder = pathlib.Path(builder.data_path)
    with damage_named(self._folder):
      self._source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, row: int) -> bytes:
    return self.__getitems__([row])[0]

  def __getitems__(self, rows: Sequence[int]) -> list[bytes]:
    with damage_named(self._folder):
      encoded = [read["image"] for read in self._source.__getitems__(rows)]
      for row, content in zip(rows, encoded, strict=True):
        if not isinstance(content, bytes):  # of a file that was cut
          raise ValueError(f"row {row} is empty")
      return encoded


class EncodedTexts:
  """The texts of a data set without images, in UTF-8, in place of encoded images."""

  def __init__(self, texts: Sequence[str]):
    self._texts = texts

  def __len__(self) -> int:
    return len(self._texts)

  def __getitem__(self, row: int) -> bytes:
    return self._texts[row].encode()


# Rows that are read from an array_record at once: alone, a row of a million takes fifty times as long.
ROWS_AT_ONCE = 1_024


def _rows(source: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
  for start in range(0, len(source), ROWS_AT_ONCE):
    yield from source.__getitems__(range(start, min(start + ROWS_AT_ONCE, len(source))))  # type: ignore[attr-defined]


def read_columns(builder: TableBuilder, split: str) -> dict[str, list]:
  """The columns of a prepared table of texts, numbers and lists of texts; raises InputError, as `damage_named`.

  The columns of a large table are kept in another form, which later runs read.
  """
  columns: dict[str, list] = {name: [] for name in builder.info.features}
  texts: dict[str, str] = {}  # each once, as names of images are in many rows
  folder = pathlib.Path(builder.data_path)
  with damage_named(folder):
    file = kept_file(folder, split)
    if file.exists():
      return read_kept_columns(file)
    for row in _rows(builder.as_data_source(split)):
      for name, column in columns.items():
        value = row[name]
        if np.ndim(value):
          column.append(tuple(texts.setdefault(own, own) for own in map(bytes.decode, value)))
        elif isinstance(value, bytes):
          column.append(texts.setdefault(text := value.decode(), text))
        else:
          column.append(int(value))
    if len(next(iter(columns.values()))) >= FEWEST:
      keep_columns(file, columns)
  return columns
