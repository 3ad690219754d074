"""Local copies of what buckets hold. Each machine fetches a content once, wherever it lies."""

import base64
from collections.abc import Mapping
import hashlib
import json
import os
import pathlib
import sys
from typing import Any

from data_pipelines.buckets.addresses import AnyPath, bucket_path, filesystem, is_address, objects
from data_pipelines.files import replaced
from data_pipelines.input_error import InputError
from data_pipelines.locks import one_at_a_time
from data_pipelines.paths import bucket_cache, local_path

Objects = Mapping[str, Mapping[str, Any]]  # what fsspec knows of each, by its name in the copy


def local_copy(text: str | os.PathLike[str], name: str) -> pathlib.Path:
  """The local path that the flag or field `name` says, or a copy of the file or folder that an address names.

  Raises InputError with both where nothing is there, and as `fetched`.
  """
  if not is_address(text):
    return local_path(text, name)
  path = bucket_path(text, name)
  found: Objects = objects(path)
  if found:
    return fetched(path, found)
  try:
    return fetched(path.parent, {path.name: filesystem(path).info(str(path))}) / path.name
  except FileNotFoundError as error:
    raise InputError(f"{name}={text}: nothing is there") from error


def fetched(folder: AnyPath, found: Objects) -> pathlib.Path:
  """A local folder with these objects of a bucket's folder, known again by their names, sizes and checksums.

  A process that comes while another fetches them waits. Raises InputError with the object whose copy is not what the
  bucket says of it.
  """
  content = json.dumps([[name, info["size"], _checksum(info)] for name, info in sorted(found.items())])
  copy = bucket_cache() / hashlib.sha256(content.encode()).hexdigest()[:16] / folder.name
  if copy.is_dir():
    return copy
  copy.parent.mkdir(parents=True, exist_ok=True)
  with one_at_a_time(copy.parent / ".lock"):
    if not copy.is_dir():
      num_bytes = sum(info["size"] for info in found.values())
      print(f"Fetching {len(found):,} files ({num_bytes / 1e6:,.1f} MB) of {folder} to {copy}", file=sys.stderr)
      with replaced(copy) as partial:
        fetch(folder, found, partial)
  return copy


def fetch(folder: AnyPath, found: Objects, target: pathlib.Path) -> None:
  """Copies these objects of a bucket's folder to a local one.

  Raises InputError as `fetched`, and for an object whose name leads out of the folder: a bucket may be anybody's.
  """
  names = list(found)
  leading_out = [name for name in names if os.path.isabs(name) or ".." in name.split("/")]
  if leading_out:
    raise InputError(
      f"{folder}: the name of an object: {ascii(leading_out[0])[:80]}, expected a path below this folder"
    )
  for name in names:
    (target / name).parent.mkdir(parents=True, exist_ok=True)
  if names:
    filesystem(folder).get([f"{folder}/{name}" for name in names], [str(target / name) for name in names])
  for name, info in found.items():
    with (target / name).open("rb") as stream:
      md5 = base64.b64encode(hashlib.file_digest(stream, "md5").digest()).decode()
    if (target / name).stat().st_size != info["size"] or info.get("md5Hash", md5) != md5:
      raise InputError(f"{folder}/{name}: what was fetched is not what is there. Try again")


def _checksum(info: Mapping[str, Any]) -> str:
  """The server's digest of an object's content; S3 has it in the tag."""
  return next((str(info[name]) for name in ("md5Hash", "crc32c", "ETag", "etag") if info.get(name)), "")
