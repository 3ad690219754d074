"""A data set, prepared and opened: what training and evaluation read."""

from collections.abc import Callable, Mapping
import dataclasses
import functools
import pathlib
import sys

import ml_collections
import numpy as np

from data_pipelines.datasets.beam import Beam
from data_pipelines.datasets.builder import EncodedImages, read_columns, SUBMISSION, TableBuilder
from data_pipelines.datasets.prepare import BUILDERS, open_tables
from data_pipelines.input_error import InputError
from data_pipelines.pixels.bad_images import bad_images
from data_pipelines.pixels.decode import DECODER_VERSION, Resizing
from data_pipelines.pixels.source import DecodedPixels, PixelSource
from data_pipelines.pixels.store import open_store
from data_pipelines.samplers import AdjectiveSampler, CaptionSampler, ListedSampler, ModificationSampler
from data_pipelines.tables import ImageTable, QueryTable, TripletSampler, without_images, without_their_queries


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Training images and their triplets, none where there is nothing to train on; the test gallery and its queries.

  `open_pixels` gives an image table's pixels, those of "train" or of `gallery_split`. `num_left_out` says how many
  images and queries are left out because images are missing or cannot be decoded, as metrics by name.
  """

  train_images: ImageTable
  train_triplets: TripletSampler
  gallery: ImageTable
  queries: QueryTable
  open_pixels: Callable[[ImageTable, str], PixelSource]
  num_left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)
  gallery_split: str = "test"

  @functools.cached_property
  def train_pixels(self) -> PixelSource:
    """Those of the training images; on first use, where there is a store, they are decoded into it."""
    return self.open_pixels(self.train_images, "train")

  def open_all_pixels(self) -> None:
    """Opens both, so that stores that are missing are built now."""
    _ = self.gallery_pixels
    if len(self.train_images):
      _ = self.train_pixels

  @functools.cached_property
  def gallery_pixels(self) -> PixelSource:
    """Those of the gallery, as `train_pixels`."""
    return self.open_pixels(self.gallery, self.gallery_split)


def open_dataset(config: ml_collections.ConfigDict, text_query: str, split: str = "test") -> Dataset:
  """Opens the data set that `config` (the `data` part of a run's configuration) names, preparing it when it is missing.

  `text_query` is "modification" or "complete". `split` says which queries, with their gallery; those of SUBMISSION are
  for a test server, and all stay, whatever `config` says of bad images. Raises InputError when the data set does not
  have one of the two, or the raw files are not as expected.
  """
  text_queries = BUILDERS[config.dataset].TEXT_QUERIES
  if text_query not in text_queries:
    raise InputError(f"config.text_query is {text_query!r}, {config.dataset} has only {', '.join(text_queries)}")
  tables = _open_tables(config)
  trains = "train" in tables["images"].info.splits
  train = _usable(config, tables, "train", text_query) if trains else _NOTHING_TO_TRAIN_ON
  if split != "test":
    _check_split(config.dataset, tables, split)
  test = _usable(config, tables, split, text_query)
  return Dataset(
    train_images=train.images,
    train_triplets=train.triplets,
    gallery=test.images,
    queries=test.queries,
    open_pixels=functools.partial(_open_pixels, config, tables["images"]),
    num_left_out={**tables["queries"].info.metadata["num_left_out"], **test.num_left_out, **train.num_left_out},
    gallery_split=BUILDERS[config.dataset].images_of(split),
  )


def prepare(config: ml_collections.ConfigDict, beam: Beam | None = None) -> None:
  """Builds what is missing of the tables and stores of the data set that `config` names, without training.

  With `beam` the tables are written by Apache Beam; stores are made here. The store of images that are for a submission
  alone is left to the submission. Raises InputError when the raw files are not as expected.
  """
  tables = _open_tables(config, beam)
  for split in tables["images"].info.splits:
    if split == SUBMISSION:
      continue
    images = _images(tables, split)
    if config.on_bad_image == "skip":
      images = without_images(images, _bad_images(config, tables, images, split))
    _open_pixels(config, tables["images"], images, split)


@dataclasses.dataclass(frozen=True)
class _Split:
  """A split's images; its queries where they are listed, and its sampler where it is trained on."""

  images: ImageTable
  queries: QueryTable | None
  triplets: TripletSampler | None
  num_left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)

  @property
  def num_queries(self) -> int:
    """How many queries are listed, or how many images can be references of drawn ones."""
    return self.triplets.num_items if self.queries is None else len(self.queries)


_NO_QUERIES = QueryTable(np.zeros(0, np.int64), [], [], [])


_NOTHING_TO_TRAIN_ON = _Split(ImageTable([], [], [], []), _NO_QUERIES, ListedSampler(_NO_QUERIES, []))


def _usable(config: ml_collections.ConfigDict, tables: dict[str, TableBuilder], split: str, text_query: str) -> _Split:
  """The split, without what cannot be decoded where `config` says so."""
  builder = BUILDERS[config.dataset]
  images = _images(tables, builder.images_of(split))
  if split in tables["queries"].info.splits:
    queries = _queries(tables["queries"], split, text_query)
  else:
    queries = None if split == "train" else _NO_QUERIES
  whole = _split(config.dataset, split, images, queries, text_query)
  if config.on_bad_image != "skip" or split == SUBMISSION:
    return whole
  bad = _bad_images(config, tables, images, split)
  good = without_images(images, bad)
  good_queries = None if queries is None else without_their_queries(queries, images, bad)
  if not len(good) or queries and not good_queries:
    raise InputError(
      f"{config.dataset}: without bad images no {split} query is left; the first: {next(iter(bad.values()))}"
    )
  usable = _split(config.dataset, split, good, good_queries, text_query)
  infix = "train_" if split == "train" else ""
  num_queries = whole.num_queries - usable.num_queries
  return dataclasses.replace(
    usable, num_left_out={f"num_bad_{infix}images": len(bad), f"num_bad_{infix}queries": num_queries}
  )


def _split(dataset: str, split: str, images: ImageTable, queries: QueryTable | None, text_query: str) -> _Split:
  triplets = _train_triplets(dataset, images, queries, text_query) if split == "train" else None
  return _Split(images, queries, triplets)


def _bad_images(
  config: ml_collections.ConfigDict, tables: dict[str, TableBuilder], images: ImageTable, split: str
) -> Mapping[int, str]:
  name = f"bad-{split}-{config.image_size}-{tables['images'].version}-{DECODER_VERSION}.json"
  file = _prepared_folder(tables["images"]) / name
  bad = bad_images(images, config.image_size, file, config.num_workers)
  if bad:
    print(
      f"{len(bad):,} of {len(images):,} {split} images cannot be decoded and are left out; {file} lists them. The "
      f"first: {next(iter(bad.values()))}",
      file=sys.stderr,
    )
  return bad


def num_loaders(config: ml_collections.ConfigDict) -> int:
  """How many processes load batches: none with a store, as sending pixels takes longer than gathering them."""
  return config.num_workers if config.pixels == "decode" else 0


def _check_split(dataset: str, tables: dict[str, TableBuilder], split: str) -> None:
  if split not in BUILDERS[dataset].QUERY_SPLITS:
    having = [name for name, builder in BUILDERS.items() if split in builder.QUERY_SPLITS]
    raise InputError(f"config.data.dataset is {dataset}, which has no test server, expected {' or '.join(having)}")
  if split not in tables["queries"].info.splits:
    raise InputError(
      f"{dataset} was prepared without some images of its {split} split, and all of its queries must be answered: "
      "download these images"
    )


def _open_tables(config: ml_collections.ConfigDict, beam: Beam | None = None) -> dict[str, TableBuilder]:
  options = {name: config[name] for name in BUILDERS[config.dataset].OPTIONS}
  return open_tables(config.dataset, config.dir, config.prepared_dir, options, beam)


def _open_pixels(config: ml_collections.ConfigDict, table: TableBuilder, images: ImageTable, split: str) -> PixelSource:
  if config.pixels == "decode":
    return DecodedPixels(images, config.image_size, resizing(config))
  prepared = _prepared_folder(table)
  source = f"{prepared.name} {table.version}"
  return open_store(
    images,
    config.image_size,
    prepared / "pixels",
    split=split,
    source=source,
    num_workers=config.num_workers,
    resizing=resizing(config),
  )


def resizing(config: ml_collections.ConfigDict) -> Resizing:
  """How `config` (the `data` part of a run's configuration) wants images to become square."""
  return Resizing(config.resize, config.interpolation)


def _prepared_folder(table: TableBuilder) -> pathlib.Path:
  """<prepared>/<data set>-<fingerprint> of <prepared>/<data set>-<fingerprint>/<data set>/images/<version>."""
  return pathlib.Path(table.data_path).parents[2]


def _train_triplets(dataset: str, images: ImageTable, queries: QueryTable | None, text_query: str) -> TripletSampler:
  complete = text_query == "complete"
  if dataset == "mit_states":
    return AdjectiveSampler(images.labels, complete_text=complete)
  if dataset == "fashion200k" or dataset == "catalogue" and queries is None:
    return CaptionSampler(images.labels, complete_text=complete)
  if dataset == "css3d":
    return ModificationSampler(queries, images.labels)
  return ListedSampler(queries, images.labels)


def _images(tables: dict[str, TableBuilder], split: str) -> ImageTable:
  columns = read_columns(tables["labels"], split)
  return ImageTable(columns["name"], columns["label"], EncodedImages(tables["images"], split), columns["group"])


def _queries(table: TableBuilder, split: str, text_query: str) -> QueryTable:
  columns = read_columns(table, split)
  right_labels, subsets = (columns[name] if any(columns[name]) else () for name in ("right_labels", "subset"))
  return QueryTable(
    np.array(columns["reference"], np.int64),
    columns[text_query],
    columns["target_label"],
    columns["group"],
    columns["id"],
    right_labels,
    subsets,
  )
