"""Files that are appended to, which a bucket does not allow: written to a local folder, and copied when they change."""

import contextlib
import pathlib
import shutil
import tempfile

from data_pipelines.buckets.addresses import AnyPath, is_address, read_object, write_object


class Mirror:
  """A local folder for what is written to `target`: that folder itself, or one that is copied to it in a bucket."""

  def __init__(self, target: AnyPath):
    self._target = target
    self._is_copied = is_address(target)
    self._copied: dict[pathlib.Path, tuple[int, int]] = {}
    self.folder = target
    if self._is_copied:
      self.folder = pathlib.Path(tempfile.mkdtemp(prefix="composeret_workdir_"))
    else:
      target.mkdir(parents=True, exist_ok=True)

  def fetch(self, name: str) -> pathlib.Path:
    """The local file of a name, with what the bucket has of it; it need not be there."""
    file = self.folder / name
    if self._is_copied:
      with contextlib.suppress(FileNotFoundError):
        file.write_bytes(read_object(self._target / name))
    return file

  def copy(self) -> None:
    """Copies what has changed since the last time. Each object is the old one or the new one."""
    if not self._is_copied:
      return
    for file in sorted(path for path in self.folder.rglob("*") if path.is_file()):
      status = file.stat()
      state = status.st_size, status.st_mtime_ns
      if self._copied.get(file) != state:
        write_object(self._target / file.relative_to(self.folder).as_posix(), file.read_bytes())
        self._copied[file] = state

  def close(self) -> None:
    """Copies what is left, and removes the local folder of a bucket."""
    self.copy()
    if self._is_copied:
      shutil.rmtree(self.folder, ignore_errors=True)
