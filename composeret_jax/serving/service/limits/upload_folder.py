"""The folder of uploaded pictures, as a search needs them: never for long, and never many."""

import asyncio
import contextlib
import dataclasses
import io
import logging
import os
import pathlib
import re
import secrets
import stat
import tempfile
import threading
import time
import zipfile

import numpy as np

from composeret_jax.serving.searcher import Query
from data_pipelines.input_error import InputError

MAX_AGE = 600.0  # seconds since an upload was last used
SWEEP_SECONDS = 60.0
QUOTA = 200_000_000  # bytes
MAX_FILES = 10_000
TOKEN = re.compile(r"[0-9a-f]{32}")


class Expired(InputError):
  """There is no upload of this token, or there is none any more."""


@dataclasses.dataclass(frozen=True, eq=False)
class Sent:
  """A picture that was sent: the query that starts from it, a JPEG, and the fingerprint of the query's bundle."""

  query: Query
  thumbnail: bytes
  fingerprint: str


class UploadFolder:
  """A folder of this user, which all processes that serve share. Its files are arrays, and no pictures."""

  def __init__(self, folder: pathlib.Path | None = None):
    """Sweeps what earlier servers have left. Raises InputError when the folder is another user's."""
    self.path = (folder or pathlib.Path(tempfile.gettempdir()) / f"composeret_jax_uploads_{os.getuid()}").absolute()
    self._changing = threading.Lock()
    self.sweep()

  def keep(self, sent: Sent) -> str:
    """Writes a file, whole or not at all, and removes the oldest where there is no room; returns a token for it.

    A token has 128 random bits. Raises OSError where the disk has no room.
    """
    stream, query = io.BytesIO(), sent.query
    pixels = query.image if isinstance(query.image, np.ndarray) else np.zeros((0, 0, 3), np.uint8)
    jpeg = np.frombuffer(sent.thumbnail, np.uint8)
    np.savez(
      stream,
      feature=query.feature,
      norm=np.float32(query.norm),
      pixels=pixels,
      thumbnail=jpeg,
      fingerprint=np.array(sent.fingerprint),
    )
    content, token = stream.getvalue(), secrets.token_hex(16)
    file, partial = self.path / f"{token}.npz", self.path / f"{token}.partial"
    with self._changing:
      self.sweep(len(content), 1)
      try:
        partial.write_bytes(content)
        partial.replace(file)
      except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return token

  def get(self, token: str) -> Sent:
    """The picture that was kept; raises Expired where there is no such thing, or not the whole of it."""
    file = self.path / f"{token}.npz"
    try:
      if not TOKEN.fullmatch(token) or time.time() - file.stat().st_mtime > MAX_AGE:
        raise FileNotFoundError
      os.utime(file)
      with np.load(file, allow_pickle=False) as kept:
        image = kept["pixels"] if kept["pixels"].size else None
        query = Query(kept["feature"], float(kept["norm"]), image=image)
        return Sent(query, kept["thumbnail"].tobytes(), str(kept["fingerprint"]))
    except (FileNotFoundError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
      raise Expired("The upload has expired: choose the picture again.") from None

  def sweep(self, more_bytes: int = 0, more_files: int = 0) -> None:
    """Removes files older than MAX_AGE; then the oldest, until QUOTA and MAX_FILES have room for what is to come.

    Makes the folder where there is none: systems remove what is unused for days from their temporary folders. Raises
    InputError when it is another user's.
    """
    self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = self.path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
      raise InputError(f"{self.path} is not a folder of this user: remove it, or set TMPDIR to another folder")
    found, oldest = [], time.time() - MAX_AGE
    with os.scandir(self.path) as files:
      for file in files:
        with contextlib.suppress(FileNotFoundError):
          status = file.stat(follow_symlinks=False)
          if not stat.S_ISDIR(status.st_mode):
            found.append((status.st_mtime, status.st_size, file.path))
    num_bytes, num_files = more_bytes + sum(size for _, size, _ in found), more_files + len(found)
    for modified, size, path in sorted(found):
      if modified >= oldest and num_bytes <= QUOTA and num_files <= MAX_FILES:
        return
      pathlib.Path(path).unlink(missing_ok=True)
      num_bytes, num_files = num_bytes - size, num_files - 1

  async def keep_swept(self) -> None:
    """Sweeps now and then, for ever."""
    while True:
      await asyncio.sleep(SWEEP_SECONDS)
      try:
        await asyncio.to_thread(self.sweep)
      except (OSError, InputError) as error:
        logging.getLogger(__name__).warning("uploads are not swept: %s", error)
