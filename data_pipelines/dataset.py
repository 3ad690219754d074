"""A data set, prepared and opened: what training and evaluation read."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import sys
from typing import Any

import ml_collections
import numpy as np

from data_pipelines.datasets.beam import Beam
from data_pipelines.datasets.prepare import BUILDERS, open_tables
from data_pipelines.datasets.tables.rows import Image, SUBMISSION
from data_pipelines.input_error import InputError
from data_pipelines.pixels.bad_images import bad_images
from data_pipelines.pixels.decode import DECODER_VERSION, Resizing, UnreadableImage
from data_pipelines.pixels.source import DecodedPixels, PixelSource
from data_pipelines.pixels.store import open_store
from data_pipelines.prepared.identity import differences, identity
from data_pipelines.prepared.prepared_data import in_template, PreparedData, query_table
from data_pipelines.prepared.validation import split_off
from data_pipelines.samplers import ListedSampler
from data_pipelines.samplers.templated import TemplatedSampler
from data_pipelines.tables import ImageTable, QueryTable, TripletSampler, without_images, without_their_queries
from data_pipelines.texts.templates import CAPTION, text_template, TextTemplate

VALIDATION = "validation"


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Training images and their triplets, none where there is nothing to train on; the test gallery and its queries.

  `open_pixels` gives the pixels of an image table of "train" or of `gallery_split`. `num_left_out` says how many
  images and queries are left out because images are missing or cannot be decoded, as metrics by name. `title` names
  the split of the queries on tables, `prepared` is what all of it was read from, and `validation` is the same training
  data with the gallery and the queries that `config.data.validation_share` holds out. `label_separator` stands between
  the words of the gallery's labels; "" where these say nothing of what images share. `text_names` is the template of
  the texts, or which of the data set's texts they are, and `template` the template where there is one. Where
  `images_are_texts` there are no pixels: labels are texts, whose features stand for images'.
  """

  train_images: ImageTable
  train_triplets: TripletSampler
  gallery: ImageTable
  queries: QueryTable
  open_pixels: Callable[[ImageTable, str], PixelSource]
  num_left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)
  gallery_split: str = "test"
  title: str = "test split"
  prepared: PreparedData | None = None
  label_separator: str = ""
  text_names: str = "modification"
  template: TextTemplate | None = None
  images_are_texts: bool = False
  validation: "Dataset | None" = None

  @functools.cached_property
  def identity(self) -> Mapping[str, Any]:
    """The identity of the content of all prepared tables, as JSON; {} where nothing is prepared."""
    return identity(self.prepared) if self.prepared else {}

  def differences(self, saved: Mapping[str, Any]) -> list[str]:
    """The differences from `saved`, an earlier `identity`: a line for each table's split."""
    return differences(saved, self.prepared) if self.prepared else []

  @functools.cached_property
  def train_pixels(self) -> PixelSource:
    """The training images' pixels; on first use, where there is a store, they are decoded into it."""
    return self.open_pixels(self.train_images, "train")

  def open_all_pixels(self) -> None:
    """Opens both, so that stores that are missing are built now."""
    if self.images_are_texts:
      return
    _ = self.gallery_pixels
    if len(self.train_images):
      _ = self.train_pixels
    if self.validation:
      _ = self.validation.gallery_pixels

  def with_pixels(self, open_pixels: Callable[[ImageTable, str], PixelSource]) -> "Dataset":
    """The same data whose images are what `open_pixels` gives."""
    validation = dataclasses.replace(self.validation, open_pixels=open_pixels) if self.validation else None
    return dataclasses.replace(self, open_pixels=open_pixels, validation=validation)

  @functools.cached_property
  def gallery_pixels(self) -> PixelSource:
    """The gallery's pixels, like `train_pixels`."""
    return self.open_pixels(self.gallery, self.gallery_split)


def open_dataset(
  data_config: ml_collections.ConfigDict,
  text_query: str,
  split: str = "test",
  templates: Sequence[str] = (),
) -> Dataset:
  """Opens the data set that `data_config`, a run's `config.data`, names; prepares it when it is missing.

  `text_query` is "modification" or "complete"; with `templates` texts follow `text_template`. `split` says which
  queries, with their gallery; SUBMISSION's queries are for a test server, and all stay, whatever
  `data_config.on_bad_image` is. Raises InputError when the data set does not have one of the two, or the raw files are
  not as expected.
  """
  text_queries = BUILDERS[data_config.dataset].TEXT_QUERIES
  if text_query not in text_queries:
    raise InputError(f"config.text_query is {text_query!r}, {data_config.dataset} has only {', '.join(text_queries)}")
  template = text_template(templates, data_config.dataset)
  data = _open_data(data_config)
  trains = "train" in data.image_splits
  train = _usable(data_config, data, "train", text_query, template) if trains else _NOTHING_TO_TRAIN_ON
  train, held_out = (
    _with_held_out(data_config, train, text_query, template) if data_config.validation_share else (train, None)
  )
  if split != "test":
    _check_split(data_config.dataset, data, split)
  test = _usable(data_config, data, split, text_query, template)
  published = BUILDERS[data_config.dataset].PUBLISHED_AS.get(split)
  named_template = f", texts {template}" if template else ""
  dataset = Dataset(
    train_images=train.images,
    train_triplets=train.triplets,
    gallery=test.images,
    queries=test.queries,
    open_pixels=functools.partial(_open_pixels, data_config, data),
    num_left_out={**data.num_left_out, **test.num_left_out, **train.num_left_out},
    gallery_split=data.images_of(split),
    title=f"{split} split{f' (published as {published})' if published else ''}{named_template}",
    prepared=data,
    text_names=str(template or text_query),
    template=template,
    images_are_texts=BUILDERS[data_config.dataset].images_are_texts,
    label_separator=BUILDERS[data_config.dataset].label_separator(_options(data_config)),
  )
  return _with_validation(dataset, held_out, f"{VALIDATION} split{named_template}") if held_out else dataset


def prepare(data_config: ml_collections.ConfigDict, beam: Beam | None = None) -> None:
  """Builds what is missing of the tables and stores of the data set that `data_config` names, without training.

  With `beam` the tables are written by Apache Beam; stores are made here. The store of images that are for a submission
  alone is left to the submission. The sizes of images are kept as well, so that the first run need not read all of
  them. Raises InputError when the raw files are not as expected.
  """
  _open_data(data_config, beam)
  dataset = open_dataset(data_config, BUILDERS[data_config.dataset].TEXT_QUERIES[0])
  dataset.open_all_pixels()
  _ = dataset.identity


@dataclasses.dataclass(frozen=True)
class _Split:
  """A split's images, its queries where they are listed, and what draws its triplets where it is trained on.

  `num_queries` says how many queries are listed, or how many images can be references of drawn ones.
  """

  images: ImageTable
  queries: QueryTable
  triplets: TripletSampler
  num_queries: int
  num_left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)


_NO_QUERIES = QueryTable(np.zeros(0, np.int64), [], [], [])
_NOTHING_TO_TRAIN_ON = _Split(ImageTable([], [], [], []), _NO_QUERIES, ListedSampler(_NO_QUERIES, []), 0)


def _usable(
  data_config: ml_collections.ConfigDict,
  data: PreparedData,
  split: str,
  text_query: str,
  template: TextTemplate | None,
) -> _Split:
  """The split, without what cannot be decoded where `data_config` says so."""
  builder = BUILDERS[data_config.dataset]
  images = data.images(data.images_of(split))
  is_listed = split in data.query_splits
  queries = data.queries(split, text_query, template) if is_listed else _NO_QUERIES

  def with_sampler(images: ImageTable, queries: QueryTable) -> _Split:
    if split != "train":
      return _Split(images, queries, _NOTHING_TO_TRAIN_ON.triplets, len(queries))
    triplets = builder.sampler(images, queries, text_query)
    if template and not is_listed:
      triplets = TemplatedSampler(triplets, template)
    return _Split(images, queries, triplets, len(queries) if is_listed else triplets.num_items)

  everything = with_sampler(images, queries)
  if data_config.on_bad_image != "skip" or split == SUBMISSION:
    return everything
  bad = _bad_images(data_config, data, images, split)
  good = without_images(images, bad)
  good_queries = without_their_queries(queries, images, bad)
  if not len(good) or len(queries) and not len(good_queries):
    raise InputError(
      f"{data_config.dataset}: without bad images no {split} query is left; the first: {next(iter(bad.values()))}"
    )
  usable = with_sampler(good, good_queries)
  infix = "train_" if split == "train" else ""
  num_queries = everything.num_queries - usable.num_queries
  return dataclasses.replace(
    usable, num_left_out={f"num_bad_{infix}images": len(bad), f"num_bad_{infix}queries": num_queries}
  )


def _with_held_out(
  data_config: ml_collections.ConfigDict, train: _Split, text_query: str, template: TextTemplate | None
) -> tuple[_Split, _Split]:
  """The rest of the training split, and what `validation_share` holds out; raises InputError for empty parts."""
  builder, share = BUILDERS[data_config.dataset], data_config.validation_share
  parts = split_off(train.images, train.queries, share, builder.held_out_by)
  images, queries = parts.images, parts.queries
  if not len(train.queries):
    rows = zip(images.names, images.labels, images.groups, strict=True)
    between = builder.queries_between([Image(name, label, b"", group) for name, label, group in rows])
    queries = query_table(between, text_query)
    if template:
      queries = in_template(queries, [{CAPTION: query.modification} for query in between], template)
  if not len(queries) or not len(parts.train_images) or len(train.queries) and not len(parts.train_queries):
    raise InputError(
      f"config.data.validation_share is {share}: of {len(train.images):,} training images and {len(train.queries):,} "
      f"listed queries it leaves {len(parts.train_images):,} and {len(parts.train_queries):,}, and gives "
      f"{len(queries):,} queries to validate, expected some of each"
    )
  triplets = builder.sampler(parts.train_images, parts.train_queries, text_query)
  if template and not len(train.queries):
    triplets = TemplatedSampler(triplets, template)
  left = dataclasses.replace(train, images=parts.train_images, queries=parts.train_queries, triplets=triplets)
  return left, _Split(images, queries, _NOTHING_TO_TRAIN_ON.triplets, len(queries))


def _with_validation(dataset: Dataset, held_out: _Split, title: str) -> Dataset:
  """The data set with what is held out as its validation."""
  validation = dataclasses.replace(
    dataset,
    gallery=held_out.images,
    queries=held_out.queries,
    num_left_out={},
    gallery_split=VALIDATION,
    title=title,
  )
  return dataclasses.replace(dataset, validation=validation)


def _bad_images(
  data_config: ml_collections.ConfigDict, data: PreparedData, images: ImageTable, split: str
) -> Mapping[int, str]:
  file = data.folder / f"bad-{split}-{data_config.image_size}-{data.version}-{DECODER_VERSION}.json"
  bad = bad_images(images, data_config.image_size, file, data_config.num_workers)
  if bad:
    print(
      f"{len(bad):,} of {len(images):,} {split} images cannot be decoded and are left out; {file} lists them. The "
      f"first: {next(iter(bad.values()))}",
      file=sys.stderr,
    )
  return bad


def num_loaders(data_config: ml_collections.ConfigDict) -> int:
  """How many processes load batches: none with a store, as sending pixels takes longer than gathering them."""
  return data_config.num_workers if data_config.pixels == "decode" else 0


def _check_split(dataset: str, data: PreparedData, split: str) -> None:
  if split not in BUILDERS[dataset].QUERY_SPLITS:
    having = [name for name, builder in BUILDERS.items() if split in builder.QUERY_SPLITS]
    raise InputError(f"config.data.dataset is {dataset}, which has no test server, expected {' or '.join(having)}")
  if split not in data.query_splits:
    raise InputError(
      f"{dataset} was prepared without some images of its {split} split, and all of its queries must be answered: "
      "download these images"
    )


def _open_data(data_config: ml_collections.ConfigDict, beam: Beam | None = None) -> PreparedData:
  dataset, options = data_config.dataset, _options(data_config)
  return PreparedData(open_tables(dataset, data_config.dir, data_config.prepared_dir, options, beam))


def _options(data_config: ml_collections.ConfigDict) -> dict[str, Any]:
  """The fields that change what is prepared."""
  return {name: data_config[name] for name in BUILDERS[data_config.dataset].OPTIONS}


def _open_pixels(
  data_config: ml_collections.ConfigDict, data: PreparedData, images: ImageTable, split: str
) -> PixelSource:
  if data_config.pixels == "decode":
    return DecodedPixels(images, data_config.image_size, resizing(data_config))
  try:
    return open_store(
      images,
      data_config.image_size,
      data.folder / "pixels",
      split=split,
      source=f"{data.folder.name} {data.version}",
      num_workers=data_config.num_workers,
      resizing=resizing(data_config),
    )
  except UnreadableImage as error:
    raise InputError(f"{error}. --config.data.on_bad_image=skip leaves out and lists such images") from error


def resizing(data_config: ml_collections.ConfigDict) -> Resizing:
  """How images become square with `data_config`, a run's `config.data`."""
  return Resizing(data_config.resize, data_config.interpolation)
