"""The files under a folder: one walk for data sets, catalogues, indexes and fingerprints."""

from collections.abc import Collection, Mapping, Sequence
import dataclasses
import os
import pathlib
import posixpath
import unicodedata

from data_pipelines.input_error import InputError

LITTER = ("__macosx", "desktop.ini", "ehthumbs.db", "thumbs.db")  # of file browsers; others' names begin with a dot


@dataclasses.dataclass(frozen=True)
class Listing:
  """Files by name, sorted, and the names of what is left out: other suffixes, special files, links that lead back up.

  A name is the path from the folder, with forward slashes, as `normal_name`. Hidden files and folders, and LITTER, are
  in neither.
  """

  files: Mapping[str, pathlib.Path]
  left_out: Sequence[str]

  def note(self, folder: pathlib.Path, used: Collection[str] = ()) -> str:
    """How many entries of `folder` are left out, with an example; "" where none are. `used` ones are not counted."""
    unused = [name for name in self.left_out if name not in used]
    if not unused:
      return ""
    return (
      f"{folder}: {len(unused):,} entries are left out (no image by the name, no regular file, or a link to a folder "
      f"above it), for example {ascii(unused[0])}"
    )


def list_files(folder: pathlib.Path, suffixes: tuple[str, ...] = ("",)) -> Listing:
  """The regular files under `folder` whose names end in one of `suffixes` (lower case); links are followed.

  Opens no file. Raises InputError with the path for a folder that cannot be read, a link to nothing, a name that is not
  UTF-8, and for two names that are the same after `normal_name`.
  """
  files, left_out = _listed(folder, suffixes)
  return Listing({name: pathlib.Path(entry.path) for name, entry in files.items()}, left_out)


def file_sizes(folder: pathlib.Path) -> dict[str, int]:
  """The size in bytes of each file that `list_files` finds, by its path from the folder as the disk has it.

  It makes no `pathlib.Path` of each, which takes longer than the file system. Raises InputError as `list_files`.
  """
  start = len(f"{str(folder).rstrip('/')}/")
  files, _ = _listed(folder, ("",))
  return {entry.path[start:]: entry.stat().st_size for entry in files.values()}


def is_litter(name: str) -> bool:
  """Whether a file or folder of this name is hidden, or of a file browser: it is never read."""
  return name.startswith(".") or name.lower() in LITTER


def normal_name(name: str) -> str:
  """A file's name as tables and indexes have it: without `./`, `//` and `a/..`, and in composed Unicode (NFC)."""
  return unicodedata.normalize("NFC", posixpath.normpath(name))


def _listed(folder: pathlib.Path, suffixes: tuple[str, ...]) -> tuple[dict[str, os.DirEntry[str]], list[str]]:
  """The files and the rest of a Listing, with the entries of folders in place of paths."""
  files: dict[str, os.DirEntry[str]] = {}
  left_out = []
  pending = [(str(folder), "", frozenset[tuple[int, int]]())]
  while pending:
    parent, prefix, above = pending.pop()
    above |= {_identity(parent)}
    for entry in _entries(parent):
      name = prefix + unicodedata.normalize("NFC", entry.name)
      if entry.is_dir():
        if _identity(entry.path) in above:
          left_out.append(name)
        else:
          pending.append((entry.path, f"{name}/", above))
      elif not entry.is_file() or not name.lower().endswith(suffixes):
        left_out.append(name)
      elif name in files:
        raise InputError(
          f"{entry.path} and {files[name].path} have the same name in composed Unicode: rename one of them"
        )
      else:
        files[name] = entry
  return {name: files[name] for name in sorted(files)}, sorted(left_out)


def _entries(folder: str) -> list[os.DirEntry[str]]:
  """The entries of a folder but hidden files and litter; raises InputError as `list_files`."""
  try:
    with os.scandir(folder) as entries:
      found = [entry for entry in entries if not is_litter(entry.name)]
  except OSError as error:
    raise InputError(f"{folder} cannot be read: {error.strerror}") from error
  for entry in found:
    try:
      entry.name.encode()
      if entry.is_symlink():
        entry.stat()
    except UnicodeEncodeError as error:
      raise InputError(f"{ascii(entry.path)[1:-1]}: the name is not UTF-8: rename the file") from error
    except OSError as error:
      raise InputError(
        f"{entry.path} is a link that leads nowhere ({error.strerror}): remove it, or bring back what it points to"
      ) from error
  return found


def _identity(folder: str) -> tuple[int, int]:
  try:
    status = os.stat(folder)
  except OSError as error:
    raise InputError(f"{folder} cannot be read: {error.strerror}") from error
  return status.st_dev, status.st_ino
