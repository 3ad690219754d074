"""Prepares a data set once, and opens what is prepared."""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import functools
import io
import pathlib
import sys
from typing import Any

from absl import logging
import tensorflow_datasets as tfds

from data_pipelines.buckets.raw_files import fingerprint, RawFiles
from data_pipelines.buckets.shared_tables import PreparedPlace
from data_pipelines.datasets.beam import Beam
from data_pipelines.datasets.builder import damage_named, FEATURES, TableBuilder
from data_pipelines.datasets.catalogue.builder import Catalogue
from data_pipelines.datasets.circo import Circo
from data_pipelines.datasets.cirr import Cirr
from data_pipelines.datasets.css3d import Css3d
from data_pipelines.datasets.fashion200k import Fashion200k
from data_pipelines.datasets.fashion_iq import FashionIQ
from data_pipelines.datasets.mit_states import MitStates
from data_pipelines.datasets.shapes import Shapes
from data_pipelines.datasets.zero_shot import ZERO_SHOT
from data_pipelines.input_error import InputError
from data_pipelines.locks import one_at_a_time

BUILDERS: dict[str, type[TableBuilder]] = {
  "catalogue": Catalogue,
  "circo": Circo,
  "cirr": Cirr,
  "css3d": Css3d,
  "fashion200k": Fashion200k,
  "fashion_iq": FashionIQ,
  "mit_states": MitStates,
  "shapes": Shapes,
  **ZERO_SHOT,
}


PROTOCOLS = {name: protocol for builder in BUILDERS.values() for name, protocol in builder.PROTOCOLS.items()}


def open_tables(
  dataset: str,
  raw_folder: str,
  prepared_dir: str,
  options: Mapping[str, Any] | None = None,
  beam: Beam | None = None,
) -> dict[str, TableBuilder]:
  """The prepared tables `images`, `labels` and `queries` of a data set; builds those that are missing.

  `prepared_dir` is where prepared data sets are kept, by default a cache folder. What is there is used again only while
  the raw files' names and sizes and the `options` (a value for each of the builder's `OPTIONS`) stay the same. A run
  that comes while another builds them waits. With `beam` they are written by Apache Beam. Raises InputError when raw
  files are not as expected.
  """
  builder_class, options = BUILDERS[dataset], options or {}
  place = PreparedPlace(prepared_dir)
  raw = _raw_files(builder_class, dataset, raw_folder, options)
  if raw:
    place.check_apart(raw.where)
  version = (
    f"-{fingerprint(raw.where if raw else None, builder_class.fingerprinted(options))}" if raw or options else ""
  )
  data_dir = place.root / f"{dataset}{version}"
  tables_name = f"{data_dir.name}/{dataset}"

  arguments = {"options": options, "raw_folder": raw, "on_beam": beam is not None}
  tables = functools.partial(_tables, dataset, data_dir, arguments)
  found = tables()
  if not _missing(found) and not place.is_shared:
    return found
  place.root.mkdir(parents=True, exist_ok=True)
  with one_at_a_time(place.root / f"{data_dir.name}.lock"):
    is_in_bucket = place.take(tables_name)
    missing = _missing(tables())  # anew: another run may have prepared them meanwhile
    try:
      if missing:
        folder = raw.folder if raw else None
        _list_missing_images(builder_class.missing_images(folder, options), folder, data_dir, options)
      for name, builder in missing.items():
        print(f"Preparing {dataset} {name} in {data_dir}", file=sys.stderr)
        _prepare(builder, raw.folder if raw else None, beam)
    finally:
      builder_class.forget()
    if not is_in_bucket:
      place.give(tables_name)
  return tables()


def _tables(dataset: str, data_dir: pathlib.Path, arguments: Mapping[str, Any]) -> dict[str, TableBuilder]:
  """The tables of a data set in a folder, prepared or not; its builder takes the `arguments`."""
  opened = {}
  for name in FEATURES:
    with damage_named(data_dir / dataset / name):
      opened[name] = BUILDERS[dataset](config=name, data_dir=str(data_dir), file_format="array_record", **arguments)
  return opened


def _missing(tables: Mapping[str, TableBuilder]) -> dict[str, TableBuilder]:
  """The tables that nobody has prepared."""
  with _without_tfds_messages():
    return {name: builder for name, builder in tables.items() if not builder.is_prepared()}


def _raw_files(
  builder_class: type[TableBuilder], dataset: str, raw_folder: str, options: Mapping[str, Any]
) -> RawFiles | None:
  instructions = builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS
  if not instructions:
    return None
  if not raw_folder and not builder_class.needs_raw_folder(options):
    return None
  if not raw_folder:
    raise InputError(f"data.dir is not set: {dataset} is not downloaded for you\n{instructions}")
  return RawFiles(raw_folder, lambda folder: builder_class.check_raw_files(folder, options))


def _list_missing_images(
  missing: Sequence[str], folder: pathlib.Path | None, data_dir: pathlib.Path, options: Mapping[str, Any]
) -> None:
  """Writes the list beside the prepared tables; raises InputError unless the configuration allows missing images."""
  if not missing:
    return
  data_dir.mkdir(parents=True, exist_ok=True)
  path = data_dir / "missing_images.txt"
  path.write_text("".join(f"{name}\n" for name in missing))
  logging.info("%d images are missing: %s", len(missing), path)
  if not options["allow_missing_images"]:
    raise InputError(
      f"{len(missing):,} images that the annotations name are not on the disk, for example {missing[0]!a} in "
      f"{folder}; all of them are listed in {path}. Correct the names, download the images, or leave out the queries "
      "and gallery images concerned with --config.data.allow_missing_images=True: recalls then do not compare with "
      "published ones."
    )


def _prepare(builder: TableBuilder, manual: pathlib.Path | None, beam: Beam | None) -> None:
  tfds.display_progress_bar(False)  # our own bars know how many rows there are
  config = tfds.download.DownloadConfig(
    manual_dir=manual,
    download_mode=tfds.GenerateMode.REUSE_DATASET_IF_EXISTS,
    **(beam.download_options() if beam else {}),
  )
  with _without_tfds_messages():
    builder.download_and_prepare(download_config=config)


@contextlib.contextmanager
def _without_tfds_messages() -> Iterator[None]:
  """Hides that it downloads a data set of unknown size, and that the folder to be filled is empty: neither is news."""
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    logging.set_verbosity(verbosity)
