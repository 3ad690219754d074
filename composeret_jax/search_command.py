"""`--mode=search`: one search, printed as a table or as JSON, and drawn."""

from collections.abc import Sequence
import json
import pathlib

from PIL import Image

from composeret_jax.index.thumbnail import open_thumbnail
from composeret_jax.results_sheet import results_sheet
from composeret_jax.searcher import Result, Searcher
from data_pipelines.pixels.decode import readable


def search(
  searcher: Searcher, reference: str, texts: Sequence[str], *, k: int, as_json: bool, picture: pathlib.Path
) -> None:
  """Prints the `k` best images for a reference, an id or a file, and texts, and writes the picture."""
  results = searcher.search(reference, texts, k)
  print(_as_json(results) if as_json else _as_table(results))
  picture.parent.mkdir(parents=True, exist_ok=True)
  results_sheet(_reference_image(searcher, reference), texts, results).save(picture)
  if not as_json:
    print(f"Picture: {picture}")


def _as_table(results: Sequence[Result]) -> str:
  width = max([len(result.id) for result in results], default=2)
  lines = [f"{'':>4} {'score':>7}  {'id':<{width}}  caption"]
  for place, result in enumerate(results, 1):
    lines.append(f"{place:>4} {result.score:>7.4f}  {result.id:<{width}}  {result.caption}".rstrip())
  return "\n".join(lines)


def _as_json(results: Sequence[Result]) -> str:
  fields = ("id", "score", "caption", "path")
  rows = [{"rank": place} | {name: getattr(result, name) for name in fields} for place, result in enumerate(results, 1)]
  return json.dumps(rows, indent=2)


def _reference_image(searcher: Searcher, reference: str) -> Image.Image:
  if reference in searcher.index:
    return open_thumbnail(searcher.index.get([reference]).thumbnails[0], reference)
  with readable(reference):
    image = Image.open(reference)
    image.load()
  return image
