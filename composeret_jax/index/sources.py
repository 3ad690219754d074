"""The images that an index is built of."""

from collections.abc import Callable, Sequence
import csv
import dataclasses
import os
import pathlib

from data_pipelines.input_error import InputError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclasses.dataclass(frozen=True)
class SourceImage:
  """An image to index; `read` gives its encoded bytes."""

  id: str
  caption: str
  path: str
  read: Callable[[], bytes]


def folder_images(folder: pathlib.Path, captions_file: pathlib.Path | None = None) -> list[SourceImage]:
  """All images under a folder, by id: the path from there, with forward slashes. Hidden files are left out.

  Captions are those of the file (CSV with columns id and caption), and for the others the name of the folder that the
  image is in, or in `folder` itself its own name. Raises InputError when there are no images or the captions name
  others.
  """
  if not folder.is_dir():
    raise InputError(f"{folder} is no folder of images")
  files = {file.relative_to(folder).as_posix(): file.absolute() for file in _image_files(folder)}
  if not files:
    raise InputError(f"{folder} has no images ({', '.join(SUFFIXES)})")
  captions = _read_captions(captions_file) if captions_file else {}
  unknown = sorted(captions.keys() - files.keys())
  if unknown:
    raise InputError(f"{captions_file} has captions of {len(unknown):,} images that {folder} lacks: {unknown[0]}")
  return [
    SourceImage(id, captions.get(id, _default_caption(id)), str(file), file.read_bytes)
    for id, file in sorted(files.items())
  ]


def _image_files(folder: pathlib.Path) -> Sequence[pathlib.Path]:
  found = []
  for parent, folders, names in os.walk(folder):
    folders[:] = [name for name in folders if not name.startswith(".")]
    found += [pathlib.Path(parent, name) for name in names if not name.startswith(".")]
  return [file for file in found if file.suffix.lower() in SUFFIXES]


def _default_caption(id: str) -> str:
  path = pathlib.PurePosixPath(id)
  return path.parent.name or path.stem


def _read_captions(file: pathlib.Path) -> dict[str, str]:
  try:
    with file.open(newline="", encoding="utf-8-sig") as stream:
      rows = csv.DictReader(stream)
      if not {"id", "caption"} <= set(rows.fieldnames or ()):
        raise InputError(f"{file} has columns {rows.fieldnames}, expected id and caption")
      return {row["id"]: row["caption"] or "" for row in rows}
  except (OSError, UnicodeDecodeError, csv.Error) as error:
    raise InputError(f"{file} cannot be read as CSV: {error}") from error
