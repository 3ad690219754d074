"""A picture of what queries find: reference, text, and the top five, the right ones framed."""

import textwrap

from jaxtyping import Int, UInt8
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from composeret_jax.retrieval import NO_ROW
from data_pipelines.datasets import Dataset
from data_pipelines.pixels.source import load_pixels

TILE = 96
GAP = 12
FRAME = 4
TEXT_WIDTH = 190
NUM_RESULTS = 5
RIGHT = (30, 150, 70)
INK = (40, 40, 40)
PAPER = (255, 255, 255)


def results_picture(
  dataset: Dataset, ranks: Int[np.ndarray, "num_queries ranked"], num_rows: int = 8
) -> UInt8[np.ndarray, "height width 3"]:
  """A grid with one query a row, `num_rows` of them spread evenly over the test queries."""
  queries = np.unique(np.linspace(0, len(ranks) - 1, min(num_rows, len(ranks))).astype(int))
  num_results = min(NUM_RESULTS, ranks.shape[1])
  width = GAP + TILE + TEXT_WIDTH + num_results * (TILE + GAP)
  heading = 28
  canvas = Image.new("RGB", (width, heading + len(queries) * (TILE + GAP)), PAPER)
  pen = ImageDraw.Draw(canvas)
  font = ImageFont.load_default(size=14)
  for x, title in (
    (0, "reference"),
    (TILE + GAP, "text"),
    (TILE + TEXT_WIDTH, f"top {num_results}, right ones framed"),
  ):
    pen.text((GAP + x, 6), title, fill=INK, font=font)
  for i, query in enumerate(queries):
    _draw_row(canvas, pen, font, dataset, int(query), ranks[query, :num_results], heading + i * (TILE + GAP))
  return np.asarray(canvas)


def _draw_row(canvas, pen, font, dataset: Dataset, query: int, found: np.ndarray, y: int) -> None:
  queries, gallery = dataset.queries, dataset.gallery
  canvas.paste(_tile(dataset, int(queries.references[query])), (GAP, y))
  text = textwrap.fill(queries.texts[query], 22)
  pen.multiline_text((GAP + TILE + GAP, y + TILE / 2), text, fill=INK, font=font, anchor="lm")
  right = queries.right_labels[query] if queries.right_labels else (queries.target_labels[query],)
  for place, row in enumerate(found[found != NO_ROW]):
    x = GAP + TILE + TEXT_WIDTH + place * (TILE + GAP)
    canvas.paste(_tile(dataset, int(row)), (x, y))
    if gallery.labels[row] in right:
      box = (x - FRAME, y - FRAME, x + TILE + FRAME - 1, y + TILE + FRAME - 1)
      pen.rectangle(box, outline=RIGHT, width=FRAME)


def _tile(dataset: Dataset, row: int) -> Image.Image:
  return Image.fromarray(load_pixels(dataset.gallery, row, TILE))
