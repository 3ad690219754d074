"""Which images of a table cannot be decoded: found once, and kept in a file."""

from collections.abc import Mapping
import concurrent.futures
import functools
import json
import os
import pathlib
import uuid

import tqdm

from data_pipelines.input_error import InputError
from data_pipelines.pixels.source import load_pixels
from data_pipelines.tables import ImageTable


def bad_images(images: ImageTable, size: int, file: pathlib.Path, num_workers: int) -> Mapping[int, str]:
  """What is wrong with each image that `decode_image` refuses, by row: read from `file`, or found out and put there.

  Every image is decoded to find out, by `num_workers` threads. `file` is JSON: row, name and message of each.
  """
  if not file.exists():
    found = _decode_all(images, size, max(1, num_workers))
    rows = [{"row": row, "name": images.names[row], "error": error} for row, error in found.items()]
    _write(file, json.dumps(rows, indent=1) + "\n")
  return {entry["row"]: entry["error"] for entry in json.loads(file.read_text("utf-8"))}


def _decode_all(images: ImageTable, size: int, num_threads: int) -> dict[int, str]:
  with concurrent.futures.ThreadPoolExecutor(num_threads) as threads:
    errors = threads.map(functools.partial(_error, images, size), range(len(images)))
    bar = tqdm.tqdm(errors, desc="look for bad images", unit=" images", total=len(images))
    return {row: error for row, error in enumerate(bar) if error is not None}


def _error(images: ImageTable, size: int, row: int) -> str | None:
  try:
    load_pixels(images, row, size)
  except InputError as error:
    return str(error)
  return None


def _write(file: pathlib.Path, content: str) -> None:
  """Whole or not at all."""
  file.parent.mkdir(parents=True, exist_ok=True)
  partial = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
  partial.write_text(content, "utf-8")
  os.replace(partial, file)
