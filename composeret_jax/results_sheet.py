"""A picture of one search: the reference, the texts, and what was found, with scores."""

from collections.abc import Sequence
import textwrap

from PIL import Image, ImageDraw, ImageFont, ImageOps

from composeret_jax.index.thumbnail import open_thumbnail
from composeret_jax.searcher import Result

TILE = 144
GAP = 14
CAPTION_HEIGHT = 40
COLUMNS = 5
LINE = 20
INK = (40, 40, 40)
PAPER = (255, 255, 255)


def results_sheet(reference: Image.Image, texts: Sequence[str], results: Sequence[Result]) -> Image.Image:
  """The reference and the texts on top, the results below, COLUMNS a row, best first."""
  font = ImageFont.load_default(size=14)
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
