"""SHA-256 of files, and of a folder's files kept in the folder: what has changed since."""

from collections.abc import Collection
import hashlib
import os
import pathlib

CHECKSUMS = "files.sha256"  # as `sha256sum --check` reads it


def file_sha256(file: pathlib.Path) -> str:
  """A file's SHA-256 in hexadecimal digits."""
  with file.open("rb") as stream:
    return hashlib.file_digest(stream, "sha256").hexdigest()


def write_checksums(folder: pathlib.Path, without: Collection[str] = ()) -> None:
  """Writes the checksums of all files under a folder but some."""
  lines = [f"{file_sha256(folder / name)}  {name}\n" for name in _files(folder) if name not in without]
  partial = folder / f".{CHECKSUMS}.partial"
  partial.write_text("".join(lines))
  os.replace(partial, folder / CHECKSUMS)


def changed_files(folder: pathlib.Path, without: Collection[str] = ()) -> list[str]:
  """Files that are gone, new or not what they were; CHECKSUMS itself where it is not there or cannot be read."""
  try:
    pairs = [line.split("  ", 1) for line in (folder / CHECKSUMS).read_text().splitlines()]
    expected = {name: checksum for checksum, name in pairs}
  except (OSError, ValueError):
    return [CHECKSUMS]
  new = set(_files(folder)) - expected.keys() - {CHECKSUMS, *without}
  return [name for name, checksum in expected.items() if _is_other(folder / name, checksum)] + sorted(new)


def _is_other(file: pathlib.Path, checksum: str) -> bool:
  return not file.is_file() or file_sha256(file) != checksum


def _files(folder: pathlib.Path) -> list[str]:
  return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
