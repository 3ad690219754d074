"""icons_200k: Fluent UI's system icons (MIT) in several styles and sizes, with captions "name style"."""

import pathlib
import re

from benchmarks.corpora.fashion200k_layout import icon, Picture, write_corpus
from benchmarks.corpora.packages import Package, read_files
from benchmarks.corpora.pictures import drawn

PACKAGE = Package("@fluentui/svg-icons", "1.1.343", "50f442c6aebe83383b39fccbc1d13f16de2587e805cbe088d932990c2a0e15c0")
SIZES = ("16", "20", "24", "28", "32")
MOST_WORDS = 5  # of a caption
FIRST_NUMBER = 10_000
# Test queries, drawn once: the numbers of reference and target.
QUERIES = pathlib.Path(__file__).parent / "icons_200k_queries.txt"
# Test icons that no query has, by the number of a picture.
OTHER_TEST_PICTURES = (21_615, 25_847)


def write_fluent(registry: str, downloads: pathlib.Path, folder: pathlib.Path) -> None:
  """Writes the corpus to `folder`; each size of an icon is a picture of its own, drawn at one size."""
  drawings = captioned(read_files(PACKAGE.fetch(registry, downloads), "icons/", ".svg"))
  pictures = [Picture(FIRST_NUMBER + i, caption, drawn(svg)) for i, (caption, svg) in enumerate(drawings)]
  queries = [tuple(map(int, line.split())) for line in QUERIES.read_text().splitlines()]
  shown = {number for query in queries for number in query} | set(OTHER_TEST_PICTURES)
  write_corpus(folder, pictures, {icon(picture.caption) for picture in pictures if picture.number in shown}, queries)


def captioned(files: dict[str, bytes]) -> list[tuple[str, bytes]]:
  """Captions and drawings, in the order of the files: "access_time_20_filled.svg" is "access time filled"."""
  found = []
  for name, svg in files.items():
    parts = re.fullmatch(r"(\w+)_(\d+)_([a-z]+)\.svg", name)
    if parts and parts[2] in SIZES:
      caption = f"{parts[1].replace('_', ' ')} {parts[3]}"
      if len(caption.split()) <= MOST_WORDS:
        found.append((caption, svg))
  return found
