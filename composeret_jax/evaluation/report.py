"""Shows an evaluation: a picture of queries with the images that they find, and a table of recalls."""

from collections.abc import Collection, Mapping
import sys
import textwrap

from jaxtyping import Int, UInt8
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from composeret_jax.distributed import is_first
from composeret_jax.evaluation.evaluator import Evaluation, HALVES, RERANKED
from composeret_jax.evaluation.protocols import TIED_SHARE
from composeret_jax.evaluation.ranking import NO_ROW
from data_pipelines.dataset import Dataset
from data_pipelines.pixels.source import load_pixels
from data_pipelines.texts.fonts import font_for

TILE = 96
GAP = 12
FRAME = 4
TEXT_WIDTH = 190
RANK_WIDTH = 84
NUM_RESULTS = 5


# Above this share of queries whose recall depends on the order of equal scores the table has a line about it.
FEW_TIED = 0.01
RIGHT = (30, 150, 70)
INK = (40, 40, 40)
PAPER = (255, 255, 255)


def results_picture(
  dataset: Dataset, ranks: Int[np.ndarray, "num_queries ranked"], num_rows: int = 8
) -> UInt8[np.ndarray, "height width 3"]:
  """A grid with one query a row, `num_rows` of them spread evenly over the test queries.

  A row has reference, text and the best images. Where none of these is right, the right one and its rank come last.
  """
  queries = np.unique(np.linspace(0, len(ranks) - 1, min(num_rows, len(ranks))).astype(int))
  num_results = min(NUM_RESULTS, ranks.shape[1])
  missed_x = GAP + TILE + TEXT_WIDTH + num_results * (TILE + GAP) + GAP
  heading = 28
  canvas = Image.new("RGB", (missed_x + TILE + GAP + RANK_WIDTH, heading + len(queries) * (TILE + GAP)), PAPER)
  pen = ImageDraw.Draw(canvas)
  font = font_for([dataset.queries.texts[query] for query in queries], 14)
  for x, title in (
    (GAP, "reference"),
    (GAP + TILE + GAP, "text"),
    (GAP + TILE + TEXT_WIDTH, f"top {num_results}, right ones framed"),
  ):
    pen.text((x, 6), title, fill=INK, font=ImageFont.load_default(14))
  width = missed_x - GAP
  for i, query in enumerate(queries):
    y = heading + i * (TILE + GAP)
    if not _draw_row(canvas, pen, font, dataset, int(query), ranks[query, :num_results], y):
      _draw_missed(canvas, pen, dataset, int(query), ranks[query], (missed_x, y))
      pen.text((missed_x, 6), "right one, where missed", fill=INK, font=ImageFont.load_default(14))
      width = canvas.width
  return np.asarray(canvas.crop((0, 0, width, canvas.height)))


def _draw_row(canvas, pen, font, dataset: Dataset, query: int, found: np.ndarray, y: int) -> bool:
  """Draws the query and what it found; returns whether a right image is among it."""
  queries, gallery = dataset.queries, dataset.gallery
  canvas.paste(_tile(dataset, int(queries.references[query])), (GAP, y))
  text = textwrap.fill(queries.texts[query], 22)
  pen.multiline_text((GAP + TILE + GAP, y + TILE / 2), text, fill=INK, font=font, anchor="lm")
  right = _right_labels(dataset, query)
  for place, row in enumerate(found[found != NO_ROW]):
    x = GAP + TILE + TEXT_WIDTH + place * (TILE + GAP)
    canvas.paste(_tile(dataset, int(row)), (x, y))
    if gallery.labels[row] in right:
      box = (x - FRAME, y - FRAME, x + TILE + FRAME - 1, y + TILE + FRAME - 1)
      pen.rectangle(box, outline=RIGHT, width=FRAME)
  return any(gallery.labels[row] in right for row in found[found != NO_ROW])


def _draw_missed(canvas, pen, dataset: Dataset, query: int, ranks: np.ndarray, place: tuple[int, int]) -> None:
  """Draws the right image that ranks best, and its rank; only a note where the gallery has none."""
  labels, right = dataset.gallery.labels, _right_labels(dataset, query)
  ranked = [rank for rank, row in enumerate(ranks, start=1) if row != NO_ROW and labels[row] in right]
  reference = dataset.queries.references[query]
  others = [row for row, label in enumerate(labels) if label in right and row != reference]
  x, y = place
  font = ImageFont.load_default(14)
  if not ranked and not others:
    pen.text((x, y + TILE / 2), "none in the gallery", fill=INK, font=font, anchor="lm")
    return
  row = ranks[ranked[0] - 1] if ranked else others[0]
  canvas.paste(_tile(dataset, int(row)), place)
  rank = f"rank {ranked[0]}" if ranked else f"rank above\n{len(ranks)}"
  pen.multiline_text((x + TILE + GAP, y + TILE / 2), rank, fill=INK, font=font, anchor="lm")


def _right_labels(dataset: Dataset, query: int) -> Collection[str]:
  queries = dataset.queries
  return queries.right_labels[query] if queries.right_labels else (queries.target_labels[query],)


def _tile(dataset: Dataset, row: int) -> Image.Image:
  """An image of the gallery or, where there are only captions, the caption."""
  if not dataset.images_are_texts:
    return Image.fromarray(load_pixels(dataset.gallery, row, TILE))
  tile, label = Image.new("RGB", (TILE, TILE), PAPER), dataset.gallery.labels[row]
  ImageDraw.Draw(tile).multiline_text((0, 0), textwrap.fill(label, 12), fill=INK, font=font_for([label], 12))
  return tile


def show_evaluation(step: int, evaluation: Evaluation, dataset: Dataset) -> None:
  """Prints the table of recalls, and what was left out; the first process does."""
  if not is_first():
    return
  counts = f"{len(dataset.queries):,} queries, {len(dataset.gallery):,} images"
  print(f"Step {step}, {dataset.title}: {counts}, recall in percent")
  print(recall_table(evaluation.metrics))
  if tied := ties_line(evaluation.metrics):
    print(tied)
  if any(dataset.num_left_out.values()):
    left_out = ", ".join(f"{name} {number:,}" for name, number in dataset.num_left_out.items())
    print(f"Left out, with images that are missing or cannot be decoded: {left_out}")
  sys.stdout.flush()


def recall_table(metrics: Mapping[str, float]) -> str:
  """In percent: a line for the composed query and for each part, then the same for each half of the query.

  Recalls, then average precisions where the protocol has them, then headlines. Each measure has a heading with every
  K, and a line has a gap where it has no such K.
  """
  lines = []
  for measure in ("R", "mAP"):
    found = [name.rpartition("/") for name in metrics if name.rpartition("/")[2].startswith(f"{measure}@")]
    columns = sorted({int(name.partition("@")[2]) for _, _, name in found})
    if columns:
      lines.append(" " * 22 + "".join(f"{f'{measure}@{k}':>8}" for k in columns))
    for group in dict.fromkeys(group + slash for group, slash, _ in found):
      names = [f"{group}{measure}@{k}" for k in columns]
      cells = "".join(f"{100 * metrics[name]:8.1f}" if name in metrics else " " * 8 for name in names)
      lines.append(f"{_title(group):<22}{cells}".rstrip())
  lines += [f"{_title(name):<22}{100 * metrics[name]:8.1f}" for name in metrics if name.endswith("headline")]
  return "\n".join(lines)


def ties_line(metrics: Mapping[str, float]) -> str:
  """Says how many queries are tied, of the composed queries and each other kind; "" where they are few everywhere."""
  shares = {
    _title(name.removesuffix(TIED_SHARE)): value for name, value in metrics.items() if name.endswith(TIED_SHARE)
  }
  many = ", ".join(f"{title} {share:.1%}" for title, share in shares.items() if share > FEW_TIED)
  return f"Queries whose recall is an expectation, as right and wrong images have equal scores: {many}" if many else ""


def _title(group: str) -> str:
  """ "image_only/noun/" as "image only noun"; what no half found alone, and nobody reranked, is composed."""
  parts = group.rstrip("/").split("/")
  half = parts.pop(0) if parts[0] in (*HALVES, RERANKED) else "composed"
  return " ".join([half.replace("_", " "), *parts]).rstrip()
