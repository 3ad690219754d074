"""Processes that work for this one: they leave with it, and signals to all of a program are not for them."""

from collections.abc import Iterator
import contextlib
import multiprocessing
from multiprocessing import resource_tracker
import os
import signal
import threading

from data_pipelines.input_error import InputError

# A spawned process runs the script that started it, to know its functions; what is not under this line it does again.
UNDER = 'put what the script does under `if __name__ == "__main__":`'


def leave_with_parent(*_) -> None:
  """To be called in a worker: it would wait for ever when its parent is killed."""

  def wait() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
      parent.join()
    os._exit(1)

  threading.Thread(target=wait, daemon=True).start()


@contextlib.contextmanager
def starting_deaf_to(*numbers: signal.Signals) -> Iterator[None]:
  """Processes that are started meanwhile, by this thread or by threads that it starts, never get these signals.

  This process does: it has other threads, and Python's handlers run in the main one whichever the signal comes to.
  """
  resource_tracker.ensure_running()  # started with the first process, it would take the block away again
  before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
  try:
    yield
  finally:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def check_not_starting() -> None:
  """Raises InputError in a process that is still reading the script that started it.

  It would do what that script does: wait for a lock that its parent holds, or start processes in its turn.
  """
  if getattr(multiprocessing.current_process(), "_inheriting", False):  # as multiprocessing itself asks
    raise InputError(f"a process that helps this script runs the script itself: {UNDER}")


def ended_early(how: str) -> InputError:
  """The error for a process that loads images and is gone; `how` says what is known of its end."""
  return InputError(
    f"a process that loads images was ended ({how}). If memory ran out, set a smaller config.data.num_workers (0 loads "
    f"in this process) or config.batch_size; in a script of your own, {UNDER}"
  )
