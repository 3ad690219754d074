"""`composeret search`: one search, printed as a table or as JSON, and drawn."""

from collections.abc import Sequence
import io
import json
import pathlib
import sys
import textwrap

from PIL import Image, ImageDraw, ImageOps

from composeret_jax.serving.index.thumbnail import open_thumbnail
from composeret_jax.serving.searcher import Result, Searcher
from data_pipelines.input_error import InputError
from data_pipelines.paths import local_path
from data_pipelines.pixels.decode import readable
from data_pipelines.texts.fonts import font_for

TILE = 144
GAP = 14
CAPTION_HEIGHT = 40
COLUMNS = 5
MAX_DRAWN = 100  # a tile of each takes 0.1 MB
LINE = 20
INK = (40, 40, 40)
PAPER = (255, 255, 255)


def results_sheet(reference: Image.Image, texts: Sequence[str], results: Sequence[Result]) -> Image.Image:
  """The reference and the texts on top, the results below, COLUMNS a row, best first."""
  font = font_for([*texts, *(result.caption or result.id for result in results)], 14)
  lines = [line for text in texts for line in textwrap.wrap(f"“{text}”", 70)]
  head = GAP + max(TILE, len(lines) * LINE) + GAP
  rows = -(-len(results) // COLUMNS)
  size = GAP + COLUMNS * (TILE + GAP), head + rows * (TILE + CAPTION_HEIGHT + GAP)
  sheet = Image.new("RGB", size, PAPER)
  pen = ImageDraw.Draw(sheet)
  sheet.paste(_tile(reference), (GAP, GAP))
  for i, line in enumerate(lines):
    pen.text((2 * GAP + TILE, GAP + i * LINE), line, fill=INK, font=font)
  for place, result in enumerate(results):
    row, column = divmod(place, COLUMNS)
    x, y = GAP + column * (TILE + GAP), head + row * (TILE + CAPTION_HEIGHT + GAP)
    sheet.paste(_tile(open_thumbnail(result.thumbnail, result.id)), (x, y))
    pen.text((x, y + TILE + 2), f"{place + 1}.  {result.score:.3f}", fill=INK, font=font)
    pen.text((x, y + TILE + 2 + LINE), textwrap.shorten(result.caption or result.id, 20), fill=INK, font=font)
  return sheet


def _tile(image: Image.Image) -> Image.Image:
  return ImageOps.pad(ImageOps.exif_transpose(image).convert("RGB"), (TILE, TILE), color=PAPER)


def search(
  searcher: Searcher, reference: str, texts: Sequence[str], *, k: int, as_json: bool, picture: pathlib.Path
) -> None:
  """Prints the `k` best images for a reference, an id or a file, and texts, and draws the first MAX_DRAWN."""
  check_picture(picture)
  reference = id_or_file(reference, is_id=reference in searcher.index)
  results = searcher.search(reference, texts, k)
  if unknown := searcher.unknown_words(texts):
    print(f"The model does not know, and leaves out: {', '.join(unknown)}", file=sys.stderr)
  if as_json:
    fields = ("id", "score", "caption", "path")
    ranked = enumerate(results, 1)
    rows = [{"rank": place} | {name: getattr(result, name) for name in fields} for place, result in ranked]
    print(json.dumps(rows, indent=2))
  else:
    print(_as_table(results))
  if reference in searcher.index:
    image = open_thumbnail(searcher.index.get([reference]).thumbnails[0], reference)
  else:
    with readable(reference):
      image = Image.open(reference)
      image.load()
  picture.parent.mkdir(parents=True, exist_ok=True)
  results_sheet(image, texts, results[:MAX_DRAWN]).save(picture)
  if not as_json:
    print(f"Picture: {picture}")


def id_or_file(reference: str, *, is_id: bool) -> str:
  """An id unchanged, or a file's path with `~` expanded; raises InputError for neither."""
  if is_id:
    return reference
  path = local_path(reference, "--image")
  if not path.exists():
    raise InputError(f"--image={reference} is no id of the index, and no file")
  return str(path)


def check_picture(picture: pathlib.Path) -> None:
  """Raises InputError where no picture can be written by this name."""
  format = Image.registered_extensions().get(picture.suffix.lower(), "")
  try:
    if not picture.is_dir():
      Image.new("RGB", (1, 1)).save(io.BytesIO(), format)  # some formats have no colours, or have to be installed
      return
    found = "a folder"
  except (KeyError, OSError, ValueError):
    found = "no name of a picture"
  raise InputError(f"--picture={picture} cannot be used: it is {found}. Set --picture to a file as results.png")


def _as_table(results: Sequence[Result]) -> str:
  width = max([len(result.id) for result in results], default=2)
  lines = [f"{'':>4} {'score':>7}  {'id':<{width}}  caption"]
  for place, result in enumerate(results, 1):
    lines.append(f"{place:>4} {result.score:>7.4f}  {result.id:<{width}}  {result.caption}".rstrip())
  return "\n".join(lines)
