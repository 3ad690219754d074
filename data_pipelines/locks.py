"""Locks on files between processes. The system lets go of a killed process' lock."""

from collections.abc import Iterator
import contextlib
import pathlib

import filelock

from data_pipelines.input_error import InputError
from data_pipelines.worker_processes import check_not_starting


@contextlib.contextmanager
def one_at_a_time(path: pathlib.Path) -> Iterator[None]:
  """Waits until no other process holds the lock file `path`, which it makes, and holds it until the block ends.

  Raises InputError in a process that the holder may have started, and which still reads its script.
  """
  check_not_starting()
  with filelock.FileLock(path, fallback_to_soft=False):
    yield


def take_lock(path: pathlib.Path, held: str) -> filelock.BaseFileLock:
  """Takes the lock file `path`, which it makes, until `release`.

  Raises InputError with the text `held` while another process has it, and OSError where the file cannot be locked.
  """
  check_not_starting()
  lock = filelock.FileLock(path, timeout=0, fallback_to_soft=False, thread_local=False)
  try:
    lock.acquire()
  except filelock.Timeout as error:
    raise InputError(held) from error
  return lock
