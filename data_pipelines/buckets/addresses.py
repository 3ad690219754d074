"""Addresses of folders in buckets, `gs://BUCKET/FOLDER` and `s3://BUCKET/FOLDER`, where a path may stand.

Packages for buckets (the extra `cloud`) are imported when an address is used.
"""

import importlib.util
import os
import pathlib
import re
from typing import Any, cast, TYPE_CHECKING

from data_pipelines.input_error import InputError

# A path on this machine, or in a bucket: etils.epath has the methods of pathlib.Path, and is none.
if TYPE_CHECKING:
  AnyPath = pathlib.Path
else:
  AnyPath = pathlib.PurePath

PACKAGES = {"gs": "gcsfs", "s3": "s3fs"}
DRIVERS = {"gs": "gcs", "s3": "s3"}  # of TensorStore
ADDRESS = re.compile(r"(gs|s3)://([^/]*)/*(.*)", re.DOTALL)


def is_address(path: str | os.PathLike[str]) -> bool:
  """Whether the path is of a bucket."""
  return ADDRESS.fullmatch(str(path)) is not None


def bucket_path(text: str | os.PathLike[str], name: str) -> AnyPath:
  """The address that the flag or field `name` says, with pathlib's methods for reading and writing (etils.epath).

  Asks no server. Raises InputError with both for an address without a folder, and where a package is missing.
  """
  scheme, bucket, key = cast(re.Match, ADDRESS.fullmatch(str(text))).groups()
  parts = key.rstrip("/").split("/")
  if not bucket or any(part in ("", ".", "..") for part in parts):
    raise InputError(f"{name}={text} cannot be used: expected {scheme}://BUCKET/FOLDER")
  package = PACKAGES[scheme]
  if importlib.util.find_spec(package) is None:
    raise InputError(f"{name}={text} cannot be used: {package} is not installed. Install the extra cloud")
  from etils import epath
  import fsspec

  # TensorStore writes there too: a listing that fsspec keeps would lack what it has written.
  for protocol in fsspec.get_filesystem_class(scheme).protocol:
    fsspec.config.conf.setdefault(protocol, {}).setdefault("use_listings_cache", False)
  return cast(AnyPath, epath.Path(f"{scheme}://{bucket}/{'/'.join(parts)}"))


def filesystem(path: os.PathLike[str]) -> Any:
  """The fsspec file system of a bucket's path."""
  import fsspec

  return fsspec.filesystem(str(path).partition("://")[0])


def objects(folder: os.PathLike[str]) -> dict[str, dict[str, Any]]:
  """fsspec's facts about each object under a folder of a bucket, by its name from there, sorted; {} for none."""
  start = str(folder).partition("://")[2].rstrip("/") + "/"
  try:
    found = filesystem(folder).find(str(folder), detail=True)
  except FileNotFoundError:
    return {}
  return {name.removeprefix(start): found[name] for name in sorted(found) if name.startswith(start)}


def read_object(path: os.PathLike[str]) -> bytes:
  """The content of an object, by one request; raises FileNotFoundError where there is none."""
  return filesystem(path).cat_file(str(path))


def write_object(path: os.PathLike[str], content: bytes) -> None:
  """Replaces an object; who reads it meanwhile gets the old content or the new one."""
  filesystem(path).pipe_file(str(path), content)


def move(folder: AnyPath, target: AnyPath) -> None:
  """Moves a folder on this machine, or all objects under one of a bucket: they are copied first, and then deleted."""
  if not is_address(folder):
    target.parent.mkdir(exist_ok=True)
    folder.rename(target)
    return
  system = filesystem(folder)
  names = list(objects(folder))
  for name in names:
    system.copy(f"{folder}/{name}", f"{target}/{name}")
  for name in names:
    system.rm_file(f"{folder}/{name}")


def kvstore(folder: os.PathLike[str]) -> dict[str, Any]:
  """TensorStore's description of a folder, on this machine or in a bucket."""
  address = ADDRESS.fullmatch(str(folder))
  if address is None:
    return {"driver": "file", "path": f"{folder}/"}
  scheme, bucket, key = address.groups()
  return {"driver": DRIVERS[scheme], "bucket": bucket, "path": f"{key}/"}
