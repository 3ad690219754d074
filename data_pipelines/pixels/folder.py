"""The images under a folder."""

import os
import pathlib

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def image_names(folder: pathlib.Path) -> list[str]:
  """The paths of all images under a folder, from there, with forward slashes; sorted. Hidden files are left out."""
  found = []
  for parent, folders, names in os.walk(folder):
    folders[:] = [name for name in folders if not name.startswith(".")]
    relative = pathlib.Path(parent).relative_to(folder)
    found += [(relative / name).as_posix() for name in names if not name.startswith(".")]
  return sorted(name for name in found if name.lower().endswith(SUFFIXES))
