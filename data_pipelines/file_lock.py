"""One process at a time, for what several runs would make at once."""

from collections.abc import Iterator
import contextlib
import fcntl
import pathlib


@contextlib.contextmanager
def one_at_a_time(path: pathlib.Path) -> Iterator[None]:
  """Waits for whoever holds the lock file `path`, which it makes; the system lets go of a killed process's lock."""
  with path.open("w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield
