"""Processes that work for this one: they leave with it, and signals to all of a program are not for them."""

from collections.abc import Iterator
import contextlib
import multiprocessing
from multiprocessing import resource_tracker
import os
import signal
import threading


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
