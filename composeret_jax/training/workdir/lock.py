"""Keeps a second run out of a workdir."""

from collections.abc import Iterator
import contextlib
import errno
import os

from composeret_jax.distributed import is_first
from composeret_jax.training.workdir.bucket_lock import BucketLock
from composeret_jax.training.workdir.restorable import check_savable
from data_pipelines.buckets.addresses import AnyPath, is_address
from data_pipelines.input_error import InputError
from data_pipelines.locks import take_lock

LOCK = ".lock"


@contextlib.contextmanager
def locked(workdir: AnyPath) -> Iterator[None]:
  """Holds the workdir for this job, whose first process takes it.

  A workdir that has nothing in it in the end, as after a mistake in the configuration, is gone again. Raises InputError
  when another run has it, or it cannot be written, or no checkpoint that is saved there can be restored.
  """
  check_savable(workdir)
  if not is_first():
    yield
    return
  held = f"--workdir={workdir} is used by another run: it is training there now"
  with _locked_bucket(workdir, held) if is_address(workdir) else _locked_folder(workdir, held):
    yield


@contextlib.contextmanager
def _locked_bucket(workdir: AnyPath, held: str) -> Iterator[None]:
  lock = BucketLock(workdir / LOCK, held)
  try:
    yield
  finally:
    lock.release()


@contextlib.contextmanager
def _locked_folder(workdir: AnyPath, held: str) -> Iterator[None]:
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    lock = take_lock(workdir / LOCK, held)
  except OSError as error:
    problem = "locked" if error.errno in (errno.ENOSYS, errno.ENOLCK) else "written"
    raise InputError(f"--workdir={workdir} cannot be {problem}: {error.strerror}") from error
  try:
    yield
  finally:
    with contextlib.suppress(OSError):  # one that cannot be removed stays
      if os.listdir(workdir) == [LOCK]:
        (workdir / LOCK).unlink()
        workdir.rmdir()
    lock.release()
