"""Which images of a table cannot be decoded: found once, and kept in a file."""

from collections.abc import Mapping
import concurrent.futures
import json
import pathlib

import tqdm

from data_pipelines.files import write_whole
from data_pipelines.input_error import InputError
from data_pipelines.locks import one_at_a_time
from data_pipelines.pixels.source import load_pixels
from data_pipelines.tables import ImageTable
from data_pipelines.untrusted_json import read_json


def bad_images(images: ImageTable, size: int, file: pathlib.Path, num_workers: int) -> Mapping[int, str]:
  """The fault of each image that `decode_image` refuses, by row: read from `file`, or found out and put there.

  Every image is decoded to find out, by `num_workers` threads. `file` is JSON: row, name and message of each.
  """
  if not file.exists():
    file.parent.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(file.with_suffix(".lock")):
      if not file.exists():
        found = _decode_all(images, size, max(1, num_workers))
        rows = [{"row": row, "name": images.names[row], "error": error} for row, error in found.items()]
        write_whole(file, json.dumps(rows, indent=1) + "\n")
  return {entry["row"]: entry["error"] for entry in read_json(file)}


def _decode_all(images: ImageTable, size: int, num_threads: int) -> dict[int, str]:
  """The fault of each image that cannot be decoded, by row."""

  def error_of(row: int) -> str | None:
    try:
      load_pixels(images, row, size)
    except InputError as error:
      return str(error)
    return None

  with concurrent.futures.ThreadPoolExecutor(num_threads) as threads:
    errors = threads.map(error_of, range(len(images)))
    bar = tqdm.tqdm(errors, desc="look for bad images", unit=" images", total=len(images))
    return {row: error for row, error in enumerate(bar) if error is not None}
