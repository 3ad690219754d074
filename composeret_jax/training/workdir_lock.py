"""Keeps a second run out of a workdir."""

from collections.abc import Iterator
import contextlib
import errno
import fcntl
import os
import pathlib

from composeret_jax.distributed import is_first
from data_pipelines.input_error import InputError

LOCK = ".lock"


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
  """Holds the workdir for this job, whose first process takes it; the system lets go of a killed process' lock.

  A workdir that has nothing in it in the end, as after a mistake in the configuration, is gone again. Raises InputError
  when another run has it, or it cannot be written.
  """
  if not is_first():
    yield
    return
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    lock = os.open(workdir / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
  except OSError as error:
    raise InputError(f"--workdir={workdir} cannot be written: {error.strerror}") from error
  try:
    _take(lock, workdir)
    try:
      yield
    finally:
      _remove_unused(workdir)
  finally:
    os.close(lock)


def _take(lock: int, workdir: pathlib.Path) -> None:
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as error:
    if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
      raise InputError(f"--workdir={workdir} is used by another run: it is training there now") from error
    raise InputError(f"--workdir={workdir} cannot be locked: {error.strerror}") from error
  if not os.fstat(lock).st_nlink:  # its holder has just removed it with the workdir
    raise InputError(f"--workdir={workdir} is used by another run: it has just ended, try again")


def _remove_unused(workdir: pathlib.Path) -> None:
  with contextlib.suppress(OSError):  # one that cannot be removed stays
    if os.listdir(workdir) == [LOCK]:
      (workdir / LOCK).unlink()
      workdir.rmdir()
