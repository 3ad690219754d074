"""The place of prepared tables. One machine prepares tables in a bucket, and the others fetch them."""

import pathlib

from data_pipelines.buckets.addresses import AnyPath, filesystem, is_address, objects, read_object, write_object
from data_pipelines.buckets.fetched import fetch
from data_pipelines.files import changed_files, CHECKSUMS, replaced, write_checksums
from data_pipelines.input_error import InputError
from data_pipelines.paths import check_apart, path_or_address, prepared_folder

FIELD = "config.data.prepared_dir"


class PreparedPlace:
  """The folder `root` of this machine, and the bucket that it shares tables with, where the configuration says one."""

  def __init__(self, configured: str):
    self.root = prepared_folder(configured)
    self._shared = path_or_address(configured, FIELD) if is_address(configured) else None
    self.is_shared = self._shared is not None

  def check_apart(self, raw: AnyPath) -> None:
    """Raises InputError where prepared data would be read as raw files."""
    check_apart(self._shared or self.root, FIELD, raw, "config.data.dir")

  def take(self, name: str) -> bool:
    """Fetches the tables in the folder `name`, unless the same are here; returns whether the bucket has them.

    Raises InputError with a file that is not what was put there.
    """
    return self._shared is not None and take_tables(self._shared / name, self.root / name)

  def give(self, name: str) -> None:
    """Puts the tables in the folder `name` into the bucket, where there is one."""
    if self._shared is not None:
      give_tables(self.root / name, self._shared / name)


def take_tables(shared: AnyPath, tables: pathlib.Path) -> bool:
  """Fetches the folder `shared` of a bucket to `tables`, unless the same files are there; returns whether it is there.

  Raises InputError with a file that is not what was put there.
  """
  try:
    checksums = read_object(shared / CHECKSUMS)
  except FileNotFoundError:
    return False
  if (tables / CHECKSUMS).is_file() and (tables / CHECKSUMS).read_bytes() == checksums:
    return True
  with replaced(tables) as partial:
    fetch(shared, objects(shared), partial)
    if changed := changed_files(partial):
      reason = "is not the file that was put there. Delete this folder of the bucket, and it is prepared again"
      raise InputError(f"{shared}/{changed[0]} {reason}")
  return True


def give_tables(tables: pathlib.Path, shared: AnyPath) -> None:
  """Puts prepared tables into a bucket. Their checksums come last: without these nobody takes them."""
  write_checksums(tables)
  names = [path.relative_to(tables).as_posix() for path in tables.rglob("*") if path.is_file()]
  names = sorted(name for name in names if name != CHECKSUMS)
  filesystem(shared).put([str(tables / name) for name in names], [f"{shared}/{name}" for name in names])
  write_object(shared / CHECKSUMS, (tables / CHECKSUMS).read_bytes())
