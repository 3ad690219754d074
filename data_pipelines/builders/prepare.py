"""Prepares a data set once, and opens what is prepared."""

from collections.abc import Iterable
import hashlib
import os
import pathlib

from absl import logging
import tensorflow_datasets as tfds

from data_pipelines.builders.mit_states import MitStates
from data_pipelines.builders.shapes import Shapes
from data_pipelines.builders.tables import FEATURES, TableBuilder
from data_pipelines.input_error import InputError

BUILDERS = {"mit_states": MitStates, "shapes": Shapes}


def open_tables(dataset: str, raw_folder: str, prepared_folder: str) -> dict[str, TableBuilder]:
  """The prepared tables `images`, `labels` and `queries` of a data set; builds those that are missing.

  `prepared_folder` is where prepared data sets are kept, by default `composeret_jax` in the user's cache folder. What
  is there is used again only while the raw files' names and sizes stay the same. Raises InputError when raw files are
  not as expected.
  """
  builder_class = BUILDERS[dataset]
  root = pathlib.Path(prepared_folder or default_prepared_folder()).expanduser()
  manual = _raw_folder(builder_class, dataset, raw_folder)
  data_dir = root / f"{dataset}-{fingerprint(manual)}" if manual else root / dataset
  tables = {name: builder_class(config=name, data_dir=str(data_dir), file_format="array_record") for name in FEATURES}
  for name, builder in tables.items():
    if not builder.is_prepared():
      logging.info("Preparing %s/%s in %s", dataset, name, data_dir)
      _prepare(builder, manual)
  return tables


def default_prepared_folder() -> pathlib.Path:
  """`composeret_jax` in the user's cache folder."""
  return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "composeret_jax"


def fingerprint(folder: pathlib.Path) -> str:
  """Eight hexadecimal digits that change with the name or size of any file under `folder`."""
  digest = hashlib.sha256()
  for path, size in sorted(_files(folder)):
    digest.update(f"{path}\0{size}\n".encode("utf-8", "surrogateescape"))
  return digest.hexdigest()[:8]


def _files(folder: pathlib.Path) -> Iterable[tuple[str, int]]:
  for parent, _, names in os.walk(folder):
    for name in names:
      path = os.path.join(parent, name)
      yield os.path.relpath(path, folder), os.stat(path).st_size


def _raw_folder(builder_class: type[TableBuilder], dataset: str, raw_folder: str) -> pathlib.Path | None:
  instructions = builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS
  if not instructions:
    return None
  if not raw_folder:
    raise InputError(f"data.dir is not set: {dataset} is not downloaded for you\n{instructions}")
  folder = pathlib.Path(raw_folder).expanduser().resolve()
  builder_class.check_raw_files(folder)
  return folder


def _prepare(builder: TableBuilder, manual: pathlib.Path | None) -> None:
  tfds.display_progress_bar(False)  # our own bars know how many rows there are
  config = tfds.download.DownloadConfig(manual_dir=manual, download_mode=tfds.GenerateMode.REUSE_DATASET_IF_EXISTS)
  builder.download_and_prepare(download_config=config)
