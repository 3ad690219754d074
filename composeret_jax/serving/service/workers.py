"""Several processes that answer at one port: they share the index's files, uploads, counters and metrics."""

from collections.abc import Callable
import dataclasses
import logging
import os
import pathlib
import socket
import sys
import tempfile

import fastapi
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from composeret_jax.serving.index.exact import ExactIndex
from composeret_jax.serving.searcher import Searcher
from composeret_jax.serving.service.app import build_app, PageRoutes
from composeret_jax.serving.service.limits.access import Counters, make_counters
from composeret_jax.serving.service.metrics import SHARED
from composeret_jax.serving.service.settings import Settings
from composeret_jax.serving.service.warm_up import keep_compiled, warm_up
from data_pipelines.input_error import InputError

COUNTERS, READY = "counters", "ready-"  # files of the folder that all processes share
LARGE_BYTES = 2**30
PATIENCE = 60  # seconds for which a process may be too busy to say that it lives


@dataclasses.dataclass(frozen=True)
class Worker:
  """Makes the app of one process; can be sent to it."""

  open_searcher: Callable[[], Searcher]
  settings: Settings
  page_routes: PageRoutes | None
  folder: pathlib.Path | None = None  # which all processes share

  def __call__(self) -> fastapi.FastAPI:
    """The app, when single searches wait for no compilation; ends the process where there is none."""
    try:
      app = self.app()
      if self.folder:
        (self.folder / f"{READY}{os.getpid()}").touch()
      return app
    except InputError as error:
      print(f"error: {error}", file=sys.stderr, flush=True)
      sys.exit(STARTUP_FAILURE)

  def app(self) -> fastapi.FastAPI:
    """Raises InputError where the bundle or the index cannot be used."""
    keep_compiled()
    logging.getLogger("composeret_jax.serving.bundle").setLevel(logging.ERROR)  # explains waits; here nobody waits
    searcher = self.open_searcher()
    warn_of_size(searcher)
    warming = warm_up(searcher)
    next(warming)
    counters = Counters(self.folder / COUNTERS) if self.folder else None
    return build_app(searcher, self.settings, self.page_routes, counters=counters, warming=warming)


def warn_of_size(searcher: Searcher) -> None:
  """Says what makes searches faster, where an index in a folder is large."""
  index = searcher.index
  num_bytes = len(index) * index.feature_dim * 4
  if isinstance(index, ExactIndex) and num_bytes > LARGE_BYTES and not index.is_quantised:
    print(
      f"Each search reads all {num_bytes / 1e9:.1f} GB of features. --mode=index --quantise makes copies of a quarter "
      "of that size, which searches read instead.",
      file=sys.stderr,
    )


class Supervisor(Multiprocess):
  """Starts the processes, says when all of them answer, and from then on starts each again that dies."""

  def __init__(
    self, config: uvicorn.Config, sockets: list[socket.socket], folder: pathlib.Path, announce: Callable[[], None]
  ):
    super().__init__(config, sockets)
    self._folder = folder
    self._announce = announce
    self.is_announced = False

  def keep_subprocess_alive(self) -> None:
    """Looks after the processes, now and then; ends all where one cannot start."""
    if self.is_announced:
      super().keep_subprocess_alive()
    elif any(process.exitcode is not None for process in self.processes):
      self.should_exit.set()
    elif len(list(self._folder.glob(f"{READY}*"))) == self.processes_num:
      self._announce()
      self.is_announced = True


def serve_by_workers(
  worker: Worker, num_workers: int, listening: socket.socket, announce: Callable[[], None], grace_seconds: int
) -> None:
  """Serves until it is interrupted; SIGHUP replaces the processes one after the other.

  Raises InputError when a process cannot start; the process has said why.
  """
  with tempfile.TemporaryDirectory(prefix="composeret_jax_served_") as name:
    folder = pathlib.Path(name)
    make_counters(folder / COUNTERS)
    config = uvicorn.Config(
      dataclasses.replace(worker, folder=folder),
      factory=True,
      workers=num_workers,
      log_level="warning",
      timeout_graceful_shutdown=grace_seconds,
      timeout_worker_healthcheck=PATIENCE,
    )
    os.environ[SHARED] = str(folder)  # the processes inherit it
    supervisor = Supervisor(config, [listening], folder, announce)
    try:
      supervisor.run()
    finally:
      del os.environ[SHARED]
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
      raise InputError("a process of the server could not start: its message is above")
