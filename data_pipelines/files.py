"""One process at a time, for what several runs would make at once."""

from collections.abc import Collection, Iterator
import contextlib
import errno
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import uuid


@contextlib.contextmanager
def one_at_a_time(path: pathlib.Path) -> Iterator[None]:
  """Waits for whoever holds the lock file `path`, which it makes; the system lets go of a killed process's lock."""
  with path.open("w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield


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


REASONS = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up", errno.EROFS: "it is read-only"}


# TensorStore writes checkpoints, and says it in its own errors' text.
TEXTS = {"No space left on device": "the disk is full", "Read-only file system": "it is read-only"}


def disk_problem(error: BaseException) -> str | None:
  """One sentence when the error, or one that it came from, is of a disk that takes nothing more; else None.

  What was saved before stays as it is: everything is written beside it, and renamed when it is whole.
  """
  while error is not None:
    reason = REASONS.get(error.errno) if isinstance(error, OSError) else _reason_in(str(error))
    if reason:
      where = getattr(error, "filename", None) or _path_in(str(error))
      return f"cannot write, {reason}: {where}. The same command goes on from the newest checkpoint when there is room"
    error = error.__cause__ or error.__context__
  return None


def _reason_in(message: str) -> str | None:
  return next((reason for text, reason in TEXTS.items() if text in message), None)


def _path_in(message: str) -> str:
  path = re.search(r'"(/[^"]+)"', message)
  return path[1] if path else message.splitlines()[0][:200]


@contextlib.contextmanager
def replaced(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """An empty folder to write to, which takes the place of `folder` when the block ends well, and is gone otherwise."""
  folder.parent.mkdir(parents=True, exist_ok=True)
  partial = _beside(folder, "partial")
  partial.mkdir()
  try:
    yield partial
    for path in (*partial.iterdir(), partial):
      _to_disk(path)
    _take_place(partial, folder)
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def _take_place(partial: pathlib.Path, folder: pathlib.Path) -> None:
  old = _beside(folder, "old")
  if folder.exists():
    folder.rename(old)
  partial.rename(folder)
  _to_disk(folder.parent)
  shutil.rmtree(old, ignore_errors=True)


def _beside(folder: pathlib.Path, part: str) -> pathlib.Path:
  return folder.with_name(f".{folder.name}.{part}-{uuid.uuid4().hex[:8]}")


def _to_disk(path: pathlib.Path) -> None:
  descriptor = os.open(path, os.O_RDONLY)
  os.fsync(descriptor)
  os.close(descriptor)


def prepared_folder(configured: str) -> pathlib.Path:
  """What the configuration says; by default `composeret_jax` in the user's cache folder."""
  default = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "composeret_jax"
  return pathlib.Path(configured or default).expanduser()
