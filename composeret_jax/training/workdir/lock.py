"""Keeps a second run out of a workdir."""

from collections.abc import Iterator
import contextlib
import errno
import os
import pathlib

from composeret_jax.distributed import is_first
from composeret_jax.training.workdir.restorable import check_savable
from data_pipelines.input_error import InputError
from data_pipelines.locks import take_lock

LOCK = ".lock"


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
  """Holds the workdir for this job, whose first process takes it.

  A workdir that has nothing in it in the end, as after a mistake in the configuration, is gone again. Raises InputError
  when another run has it, or it cannot be written, or no checkpoint that is saved there can be restored.
  """
  check_savable(workdir)
  if not is_first():
    yield
    return
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    lock = take_lock(workdir / LOCK, f"--workdir={workdir} is used by another run: it is training there now")
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
