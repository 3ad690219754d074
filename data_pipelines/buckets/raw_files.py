"""The folder of a data set's files: one of this machine, or one of a bucket, which is fetched when it is first read."""

from collections.abc import Callable, Mapping
import functools
import hashlib
import json
import os
import pathlib
from typing import Any

from data_pipelines.buckets.addresses import AnyPath, is_address, objects
from data_pipelines.buckets.fetched import local_copy
from data_pipelines.folders import file_sizes, is_litter
from data_pipelines.input_error import InputError
from data_pipelines.paths import absolute, path_or_address

FIELD = "config.data.dir"


class RawFiles:
  """The files at `where`, an absolute path or an address; names and sizes are known before any is fetched."""

  def __init__(self, configured: str | os.PathLike[str], check: Callable[[pathlib.Path], None]):
    """`check` raises InputError for a folder that is not as a data set expects: at once for one of this machine."""
    given = path_or_address(configured, FIELD)
    self.where = absolute(given)
    self._check = check
    if not is_address(given) and not given.is_absolute() and not self.where.exists():
      raise InputError(
        f"{FIELD}={configured} leads to no folder from {os.getcwd()}, where the command runs: run it where you did "
        f"before, or set {FIELD} to the whole path"
      )
    if not is_address(self.where):
      _ = self.folder

  @functools.cached_property
  def folder(self) -> pathlib.Path:
    """The checked files on this machine; raises InputError where a bucket lacks them, or they are not as expected."""
    folder = local_copy(self.where, FIELD)
    self._check(folder)
    return folder


def fingerprint(folder: AnyPath | None, options: Mapping[str, Any]) -> str:
  """Eight hexadecimal digits that change with `options` and the name or size of any file that `list_files` finds.

  They are the same for the same files on this machine and in a bucket.
  """
  digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode() if options else b"")
  if folder:
    for path, size in sorted(_sizes(folder)):
      digest.update(f"{path}\0{size}\n".encode())
  return digest.hexdigest()[:8]


def _sizes(folder: AnyPath) -> list[tuple[str, int]]:
  """Name and size in bytes of each file that `list_files` finds, in a bucket too."""
  if is_address(folder):
    found = objects(folder).items()
    return [(name, info["size"]) for name, info in found if not any(map(is_litter, name.split("/")))]
  return list(file_sizes(folder).items())
