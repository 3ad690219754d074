"""Files that are whole or not there, written beside their place and then put there; and files' checksums."""

from collections.abc import Collection, Iterator
import contextlib
import ctypes
import errno
import fcntl
import glob
import hashlib
import os
import pathlib
import shutil
import time
from typing import BinaryIO
import uuid

from data_pipelines.buckets.addresses import AnyPath, is_address, objects, read_object, write_object

CHECKSUMS = "files.sha256"  # as `sha256sum --check` reads it
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux' renameat2
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
UNLOCKED_SECONDS = 60  # a partial folder is locked within these
NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)  # of kernels and file systems without it


def write_whole(file: AnyPath, content: bytes | str) -> None:
  """Replaces `file` by `content` (text as UTF-8); killed at any moment, it is the old one or the new one.

  `file` may be in a bucket, whose objects are replaced whole.
  """
  encoded = content.encode() if isinstance(content, str) else content
  if is_address(file):
    write_object(file, encoded)
    return
  with open_whole(file) as stream:
    stream.write(encoded)


@contextlib.contextmanager
def open_whole(file: pathlib.Path) -> Iterator[BinaryIO]:
  """A stream into a hidden file beside `file`, whose place it takes, on the disk, when the block ends well.

  One process writes a file at a time. What a killed one left behind is overwritten by the next.
  """
  partial = partial_name(file)
  try:
    with naming(file), partial.open("wb") as stream:
      yield stream
      stream.flush()
      os.fsync(stream.fileno())
    os.replace(partial, file)
  except Exception:
    partial.unlink(missing_ok=True)  # a full disk gets its room back
    raise
  to_disk(file.parent)


@contextlib.contextmanager
def naming(path: pathlib.Path) -> Iterator[None]:
  """Gives the name `path` to an error of the disk that has none, as errors of `write` have none."""
  try:
    yield
  except OSError as error:
    if error.errno in OF_THE_DISK and error.filename is None:
      error.filename = str(path)
    raise


def partial_name(path: pathlib.Path) -> pathlib.Path:
  """The place of a file, or of a folder with one writer, until it is whole."""
  return path.with_name(f".{path.name}.partial")


def to_disk(path: pathlib.Path) -> None:
  """Returns when a file's contents, or a folder's entries, are on the disk."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


@contextlib.contextmanager
def replaced(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """An empty folder to write to, which takes the place of `folder` when the block ends well, and is gone otherwise.

  Killed at any moment, `folder` is the old one or the new one. Where the file system cannot exchange two folders, the
  old one has another name for a moment; killed then, it comes back with the next call. That call also removes what the
  killed one has written.
  """
  folder.parent.mkdir(parents=True, exist_ok=True)
  old = folder.with_name(f".{folder.name}.old")
  if old.exists() and not folder.exists():
    os.rename(old, folder)
  partial = folder.with_name(f".{folder.name}.partial-{uuid.uuid4().hex[:8]}")
  _remove_left(folder)
  partial.mkdir()
  lock = _lock(partial)
  try:
    with naming(folder):
      yield partial
    for path in (*partial.iterdir(), partial):
      to_disk(path)
    if not folder.exists():
      os.rename(partial, folder)
    elif not _exchange(partial, folder):
      _take_place(partial, folder, old)
    to_disk(folder.parent)
  finally:
    shutil.rmtree(partial, ignore_errors=True)
    if lock is not None:
      os.close(lock)


def _remove_left(folder: pathlib.Path) -> None:
  """Removes partial folders of `folder` whose writers are gone."""
  for left in folder.parent.glob(f".{glob.escape(folder.name)}.partial-*"):
    with contextlib.suppress(OSError):  # another call has removed it
      if time.time() - left.stat().st_mtime > UNLOCKED_SECONDS and (lock := _lock(left)) is not None:
        shutil.rmtree(left, ignore_errors=True)
        os.close(lock)


def _lock(folder: pathlib.Path) -> int | None:
  """An open descriptor of a folder that locks it until it is closed; None where another process or call has it.

  The system closes the descriptors of killed processes. None, too, on file systems without locks.
  """
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError:
    os.close(descriptor)
    return None
  return descriptor


def _exchange(path: pathlib.Path, other: pathlib.Path) -> bool:
  """Lets two names change places at once; returns whether the system can."""
  rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
  if rename is None:
    return False
  if rename(AT_FDCWD, os.fsencode(path), AT_FDCWD, os.fsencode(other), ctypes.c_uint(RENAME_EXCHANGE)) == 0:
    return True
  number = ctypes.get_errno()
  if number in NO_EXCHANGE:
    return False
  raise OSError(number, os.strerror(number), str(path), None, str(other))


def _take_place(partial: pathlib.Path, folder: pathlib.Path, old: pathlib.Path) -> None:
  shutil.rmtree(old, ignore_errors=True)
  os.rename(folder, old)
  try:
    os.rename(partial, folder)
  except OSError:
    os.rename(old, folder)
    raise
  shutil.rmtree(old, ignore_errors=True)


def file_sha256(file: AnyPath) -> str:
  """A file's SHA-256 in hexadecimal digits; an object of a bucket is read at once."""
  if is_address(file):
    return hashlib.sha256(read_object(file)).hexdigest()
  with file.open("rb") as stream:
    return hashlib.file_digest(stream, "sha256").hexdigest()


def write_checksums(folder: AnyPath, without: Collection[str] = ()) -> None:
  """Writes the checksums of all files under a folder but some; in a bucket, of what is read back from there."""
  lines = [f"{file_sha256(folder / name)}  {name}\n" for name in _files(folder) if name not in without]
  write_whole(folder / CHECKSUMS, "".join(lines))


def changed_files(folder: AnyPath, without: Collection[str] = (), *, under: str = "") -> list[str]:
  """Files that are gone, new or not what they were; CHECKSUMS itself where it is not there or cannot be read.

  Only files whose names begin with `under` are read.
  """
  try:
    pairs = [line.split("  ", 1) for line in (folder / CHECKSUMS).read_text().splitlines()]
    expected = {name: checksum for checksum, name in pairs if name.startswith(under)}
  except (OSError, ValueError):
    return [CHECKSUMS]
  found = {name for name in _files(folder) if name.startswith(under)}
  new = found - expected.keys() - {CHECKSUMS, *without}
  changed = [name for name in expected if name not in found or file_sha256(folder / name) != expected[name]]
  return changed + sorted(new)


def _files(folder: AnyPath) -> list[str]:
  if is_address(folder):
    return list(objects(folder))
  return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
