"""Rows of a Hugging Face data set, from a folder that `datasets` saved or from the hub; its images may be in it."""

from collections.abc import Callable, Iterator, Mapping
import functools
import hashlib
import pathlib
from typing import Any

from data_pipelines.datasets.catalogue.row_files import checked_rows, Columns, Row
from data_pipelines.input_error import InputError
from data_pipelines.paths import local_path

PREFIX = "hf:"
FIELDS = "config.data.triplets or captions"  # that name a source
SAVED = ("dataset_dict.json", "dataset_info.json")  # one of them is in a folder of `save_to_disk`
TEST_SPLITS = ("test", "validation", "val")  # the first that is there is the test split


Images = dict[str, Callable[[], bytes]]


def read_hub_rows(source: str, columns: Columns) -> tuple[list[Row], Images]:
  """The rows of hf:FOLDER or hf:OWNER/NAME[/CONFIGURATION], and the images that it holds itself, by name.

  Such an image is named by the SHA-256 of its bytes, and so is there once. Where there are several splits, rows have
  the column `split`. Raises InputError where it cannot be loaded, or a column is missing or holds something else.
  """
  images, rows, found = Images(), list[Row](), dict[str, None]()
  for split, part in _splits(source).items():
    found |= dict.fromkeys([*part.column_names, *(["split"] if split else [])])
    rows += _rows(f"{source}{f', {split}' if split else ''}", split, part, columns, images)
  return list(checked_rows(source, list(found), rows, columns)), images


def _splits(source: str) -> dict[str, Any]:
  """The parts for "train" and "test", or all rows as "" where there are no two."""
  loaded = _load(source)
  if not isinstance(loaded, dict):
    return {"": loaded}
  if len(loaded) == 1:
    return {"": next(iter(loaded.values()))}
  test = next((name for name in TEST_SPLITS if name in loaded), None)
  if test is None or "train" not in loaded:
    raise InputError(f"{source}: splits {', '.join(loaded)}, expected train and one of {', '.join(TEST_SPLITS)}")
  return {"train": loaded["train"], "test": loaded[test]}


def _load(source: str) -> Any:
  try:
    import datasets
  except ImportError as error:
    raise InputError(f"{source} needs the package datasets: pip install 'composeret-jax[datasets]'") from error
  address = source.removeprefix(PREFIX)
  folder = local_path(address, FIELDS)
  try:
    if any((folder / name).is_file() for name in SAVED):
      return datasets.load_from_disk(str(folder))
    owner, _, rest = address.partition("/")
    name, _, configuration = rest.partition("/")
    return datasets.load_dataset(f"{owner}/{name}", configuration or None)
  except Exception as error:  # of datasets, the hub, the network, the files
    raise InputError(f"{source} cannot be loaded: {error}") from error


def _rows(where: str, split: str, part: Any, columns: Columns, images: Images) -> Iterator[Row]:
  from datasets import Image

  wanted = [name for name in (*columns.required, *columns.optional) if name in part.column_names]
  part = part.select_columns(wanted)
  pictures = [name for name in wanted if isinstance(part.features[name], Image)]
  for name in pictures:
    part = part.cast_column(name, Image(decode=False))
  for number, row in enumerate(part):
    for column in pictures:
      if row[column] is not None:
        name = hashlib.sha256(_bytes(row[column])).hexdigest()
        images.setdefault(name, functools.partial(_read, part, number, column))
        row[column] = name
    yield Row(f"{where}: row {number + 1}", {"split": split} | row)


def _read(part: Any, number: int, column: str) -> bytes:
  return _bytes(part[number][column])


def _bytes(encoded: Mapping[str, Any]) -> bytes:
  return encoded["bytes"] if encoded["bytes"] is not None else pathlib.Path(encoded["path"]).read_bytes()
