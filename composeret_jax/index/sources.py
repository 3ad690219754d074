"""The images that an index is built of."""

from collections.abc import Callable
import csv
import dataclasses
import pathlib

from data_pipelines.input_error import InputError
from data_pipelines.pixels.folder import image_names, SUFFIXES


@dataclasses.dataclass(frozen=True)
class SourceImage:
  """An image to index; `read` gives its encoded bytes."""

  id: str
  caption: str
  path: str
  read: Callable[[], bytes]


def folder_images(folder: pathlib.Path, captions_file: pathlib.Path | None = None) -> list[SourceImage]:
  """All images under a folder, by id: the path from there, with forward slashes. Hidden files are left out.

  Captions are those of the file (CSV with columns caption and id, or image), and for the others the name of the folder
  that the image is in, or in `folder` itself its own name. Raises InputError when there are no images or the captions
  name others.
  """
  if not folder.is_dir():
    raise InputError(f"{folder} is no folder of images")
  files = {name: (folder / name).absolute() for name in image_names(folder)}
  if not files:
    raise InputError(f"{folder} has no images ({', '.join(SUFFIXES)})")
  captions = _read_captions(captions_file) if captions_file else {}
  unknown = sorted(captions.keys() - files.keys())
  if unknown:
    raise InputError(f"{captions_file} has captions of {len(unknown):,} images that {folder} lacks: {unknown[0]}")
  return [
    SourceImage(id, captions.get(id, _default_caption(id)), str(file), file.read_bytes) for id, file in files.items()
  ]


def _default_caption(id: str) -> str:
  path = pathlib.PurePosixPath(id)
  return path.parent.name or path.stem


def _read_captions(file: pathlib.Path) -> dict[str, str]:
  try:
    with file.open(newline="", encoding="utf-8-sig") as stream:
      rows = csv.DictReader(stream)
      id = next((name for name in ("id", "image") if name in (rows.fieldnames or ())), None)
      if id is None or "caption" not in rows.fieldnames:
        raise InputError(f"{file} has columns {rows.fieldnames}, expected id (or image) and caption")
      return {row[id]: row["caption"] or "" for row in rows}
  except (OSError, UnicodeDecodeError, csv.Error) as error:
    raise InputError(f"{file} cannot be read as CSV: {error}") from error
