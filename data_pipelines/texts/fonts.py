"""A font that has the letters of the texts that a picture shows."""

from collections.abc import Iterable, Iterator
import os
import pathlib
import sys

from PIL import ImageFont

FOLDERS = (
  "/usr/share/fonts",
  "/usr/local/share/fonts",
  "~/.fonts",
  "~/.local/share/fonts",
  "/System/Library/Fonts",
  "/Library/Fonts",
  "C:/Windows/Fonts",
)


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def font_for(texts: Iterable[str], size: int) -> Font:
  """Pillow's own font, or the installed one that has most of the letters that it lacks; `size` is in pixels.

  Prints which letters no font has: they are drawn as boxes.
  """
  letters = {letter for text in texts for letter in text if letter.isprintable() and not letter.isspace()}
  best: Font = ImageFont.load_default(size)
  missing = lacking(best, letters)
  for file in _installed() if missing else ():
    try:
      font = ImageFont.truetype(str(file), size)
      lacks = lacking(font, letters)
    except (OSError, ValueError):  # a bitmap font, or a damaged one
      continue
    if len(lacks) < len(missing):
      best, missing = font, lacks
    if not missing:
      return best
  if missing:
    shown = " ".join(sorted(missing)[:10]).encode("utf-8", "backslashreplace").decode()
    print(f"No font here has {shown}: the picture shows boxes. Install one, such as Noto Sans CJK.", file=sys.stderr)
  return best


def lacking(font: Font, letters: Iterable[str]) -> set[str]:
  """The letters for which the font draws what it draws for none."""
  box = bytes(font.getmask("\U0010fffe"))
  return {letter for letter in letters if bytes(font.getmask(letter)) == box}


def _installed() -> Iterator[pathlib.Path]:
  """Font files, plain ones without serifs first."""
  found = [
    pathlib.Path(folder, name)
    for root in FOLDERS
    for folder, _, names in os.walk(os.path.expanduser(root))
    for name in names
    if name.lower().endswith((".ttf", ".ttc", ".otf"))
  ]
  return iter(sorted(found, key=lambda file: ("Sans" not in file.name, len(file.name), file.name)))
