"""SHA-256 of files, and of a folder's files kept in the folder: what has changed since."""

import hashlib
import os
import pathlib

CHECKSUMS = "files.sha256"  # as `sha256sum --check` reads it


def file_sha256(file: pathlib.Path) -> str:
  """A file's SHA-256 in hexadecimal digits."""
  with file.open("rb") as stream:
    return hashlib.file_digest(stream, "sha256").hexdigest()


def write_checksums(folder: pathlib.Path) -> None:
  """Writes the checksums of all files under a folder that is finished, unless they are there."""
  if (folder / CHECKSUMS).exists():
    return
  lines = [f"{file_sha256(folder / name)}  {name}\n" for name in _files(folder)]
  partial = folder / f".{CHECKSUMS}.partial"
  partial.write_text("".join(lines))
  os.replace(partial, folder / CHECKSUMS)


def changed_files(folder: pathlib.Path) -> list[str]:
  """Files that are gone or not what they were; none where no checksums have been written yet."""
  if not (folder / CHECKSUMS).exists():
    return []
  try:
    pairs = [line.split("  ", 1) for line in (folder / CHECKSUMS).read_text().splitlines()]
    expected = {name: checksum for checksum, name in pairs}
  except ValueError:
    return [CHECKSUMS]
  return [name for name, checksum in expected.items() if _is_other(folder / name, checksum)]


def _is_other(file: pathlib.Path, checksum: str) -> bool:
  return not file.is_file() or file_sha256(file) != checksum


def _files(folder: pathlib.Path) -> list[str]:
  paths = (path for path in folder.rglob("*") if path.is_file())
  names = (path.relative_to(folder).as_posix() for path in paths)
  return sorted(name for name in names if not name.endswith(f"{CHECKSUMS}.partial"))
