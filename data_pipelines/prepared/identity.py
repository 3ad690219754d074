"""The identity of the content of prepared data: every row, and the names and sizes of images, wherever they are."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import hashlib
import json
import sys
from typing import Any

import numpy as np
import tqdm

from data_pipelines.datasets.annotations import excerpt
from data_pipelines.datasets.tables.rows import SUBMISSION
from data_pipelines.files import open_whole
from data_pipelines.input_error import InputError
from data_pipelines.locks import one_at_a_time
from data_pipelines.prepared.prepared_data import PreparedData
from data_pipelines.tables import encoded_at, EncodedRows

IMAGES_AT_ONCE = 256  # photographs of 200 kB: 50 MB
MAX_DIGESTS = 256  # of a table's split: a checkpoint holds a few kilobytes of them
IMAGES, QUERIES = "images", "queries"


def identity(data: PreparedData) -> dict[str, Any]:
  """By "images of train", "queries of test", ...: the number of rows, and a digest of each so many of them, as JSON.

  Images count with name, label, group and size in bytes, queries with the names of images instead of their rows.
  """
  return {part: _digests(rows, _block(len(rows))) for part, rows in _parts(data)}


def differences(saved: Mapping[str, Any], data: PreparedData) -> list[str]:
  """A line for each part in which `data` is not what `saved`, an `identity`, was made of.

  A line has the numbers of rows, and the first row that differs as far as the digests tell. A part that is in one of
  them alone is no difference: what is for a test server comes with its last image.
  """
  return [line for part, rows in _parts(data) if part in saved and (line := _difference(part, saved[part], rows))]


def _difference(part: str, saved: Mapping[str, Any], rows: Sequence[str]) -> str:
  now = _digests(rows, saved["block"])
  if now == saved:
    return ""
  counts = f"{part}: {saved['rows']:,} rows then, {len(rows):,} now"
  pairs = enumerate(zip(saved["digests"], now["digests"], strict=False))
  block = next((number for number, (old, new) in pairs if old != new), None)
  if block is None:
    return f"{counts}; the first {min(saved['rows'], len(rows)):,} are the same"
  first, last = block * saved["block"], min((block + 1) * saved["block"], len(rows)) - 1
  if first == last:
    return f"{counts}; the first that differs is row {first}, now {excerpt(rows[first])}"
  return f"{counts}; the first that differs is in rows {first} to {last}"


def _block(num_rows: int) -> int:
  block = 1
  while num_rows > block * MAX_DIGESTS:
    block *= 2
  return block


def _digests(rows: Sequence[str], block: int) -> dict[str, Any]:
  groups = ("\n".join(rows[start : start + block]) for start in range(0, len(rows), block))
  digests = [hashlib.sha256(group.encode()).hexdigest()[:16] for group in groups]
  return {"rows": len(rows), "block": block, "digests": digests}


def _parts(data: PreparedData) -> Iterator[tuple[str, list[str]]]:
  for split in data.image_splits:
    if split == SUBMISSION and split not in data.query_splits:
      continue  # not all of them are there: more may come
    columns = data.columns("labels", split)
    rows = zip(columns["name"], columns["label"], columns["group"], _sizes(data, split), strict=True)
    yield f"{IMAGES} of {split}", [json.dumps(row) for row in rows]
  for split in data.query_splits:
    columns = dict(data.columns(QUERIES, split))
    names = data.columns("labels", data.images_of(split))["name"]
    columns["reference"] = [names[row] for row in columns["reference"]]
    yield f"{QUERIES} of {split}", [_told(columns, row) for row in zip(*columns.values(), strict=True)]


def _told(names: Iterable[str], row: Sequence[Any]) -> str:
  """A query's columns, without the empty ones: a later version's tables may have more of them."""
  return json.dumps({name: value for name, value in zip(names, row, strict=True) if value not in ("", ())})


def _bytes_of_each(encoded: EncodedRows, what: str) -> Iterator[int]:
  with tqdm.tqdm(desc=what, unit=" images", total=len(encoded)) as bar:
    for start in range(0, len(encoded), IMAGES_AT_ONCE):
      rows = range(start, min(start + IMAGES_AT_ONCE, len(encoded)))
      yield from map(len, encoded_at(encoded, rows))
      bar.update(len(rows))


def _sizes(data: PreparedData, split: str) -> list[int]:
  """Each image's size in bytes, kept beside the tables, as all of them have to be read for it."""
  file = data.folder / f"sizes-{split}-{data.version}.npy"
  images = data.images(split)
  if file.exists():
    try:
      sizes = np.load(file)
      if sizes.shape == (len(images),):
        return sizes.tolist()
      reason = f"it has {len(sizes):,} sizes of {len(images):,} images"
    except (OSError, EOFError, ValueError) as error:
      reason = str(error)
    raise InputError(f"{file} is damaged ({reason}): delete it, and it is made again")
  sizes = np.fromiter(_bytes_of_each(images.encoded, f"sizes of {split} images"), np.int64, len(images))
  try:
    with one_at_a_time(file.with_suffix(".lock")):
      if not file.exists():  # else another run has kept them meanwhile
        with open_whole(file) as stream:
          np.save(stream, sizes)
  except OSError as error:
    print(f"{file} cannot be written, the next run reads all images again: {error.strerror}", file=sys.stderr)
  return sizes.tolist()
