"""Where files that people send lie until they are read: never for long, and never many."""

import asyncio
import contextlib
import os
import pathlib
import secrets
import stat
import tempfile
import threading
import time
from typing import Any

from data_pipelines.input_error import InputError

MAX_AGE = 600.0  # seconds


SWEEP_SECONDS = 60.0


QUOTA = 200_000_000  # bytes; an upload is read a moment after it was sent, so that the oldest can go


MAX_FILES = 1_000


class UploadFolder:
  """A folder of this user's own, with all files that pages of this user were sent and their copies by Gradio."""

  def __init__(self, folder: pathlib.Path | None = None):
    """Sweeps what earlier servers have left. Raises InputError when the folder is another user's."""
    self.path = (folder or pathlib.Path(tempfile.gettempdir()) / f"composeret_jax_uploads_{os.getuid()}").absolute()
    self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = self.path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
      raise InputError(f"{self.path} is not a folder of this user: remove it, or set TMPDIR to another folder")
    self._changing = threading.Lock()
    self.sweep()

  def keep(self, content: bytes) -> pathlib.Path:
    """Writes a file, whole or not at all, and removes the oldest where there is no room.

    Its name cannot be guessed. Gradio wants a suffix of images; what is in the file decides.
    """
    file = self.path / f"{secrets.token_hex(16)}.png"
    with self._changing:
      self.sweep(len(content), 1)
      try:
        file.write_bytes(content)
      except BaseException:
        file.unlink(missing_ok=True)
        raise
    return file

  def holds(self, path: Any) -> bool:
    """Whether this is the path of a file in the folder, links followed."""
    try:
      file = pathlib.Path(path).resolve() if isinstance(path, str) else None
      return file is not None and self.path.resolve() in file.parents and file.is_file()
    except (OSError, ValueError, RuntimeError):  # too long, a zero byte, a loop of links
      return False

  def sweep(self, more_bytes: int = 0, more_files: int = 0) -> None:
    """Removes files older than MAX_AGE; then the oldest, until QUOTA and MAX_FILES have room for what is to come."""
    found, oldest = [], time.time() - MAX_AGE
    for parent, _, names in os.walk(self.path):
      for name in names:
        with contextlib.suppress(FileNotFoundError):
          status = os.lstat(os.path.join(parent, name))
          found.append((status.st_mtime, status.st_size, os.path.join(parent, name)))
      if parent != str(self.path) and not names:
        with contextlib.suppress(OSError):  # not empty, or gone
          if os.stat(parent).st_mtime < oldest:
            os.rmdir(parent)
    num_bytes, num_files = more_bytes + sum(size for _, size, _ in found), more_files + len(found)
    for modified, size, file in sorted(found):
      if modified >= oldest and num_bytes <= QUOTA and num_files <= MAX_FILES:
        return
      pathlib.Path(file).unlink(missing_ok=True)
      num_bytes, num_files = num_bytes - size, num_files - 1

  async def keep_swept(self) -> None:
    """Sweeps now and then, for ever."""
    while True:
      await asyncio.sleep(SWEEP_SECONDS)
      await asyncio.to_thread(self.sweep)
