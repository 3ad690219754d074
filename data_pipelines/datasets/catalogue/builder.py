"""Your own catalogue: a folder of images, and rows that say which sentences lead from one to another, or captions."""

from collections.abc import Mapping, Sequence
import functools
import pathlib
import sys
from typing import Any, ClassVar

from data_pipelines.datasets.builder import NAMES, TableBuilder
from data_pipelines.datasets.catalogue.content import Content, read_content
from data_pipelines.datasets.catalogue.rows import is_hub, source_fingerprint
from data_pipelines.datasets.sibling_queries import sibling_queries
from data_pipelines.datasets.tables.rows import Image, Query
from data_pipelines.field_rules import boolean, only, SHARE_OR_NONE, text, Together, whole_number
from data_pipelines.input_error import InputError
from data_pipelines.samplers import CaptionSampler
from data_pipelines.tables import ImageTable, QueryTable, TripletSampler


class Catalogue(TableBuilder):
  """A folder of images with rows (reference, text, target) or (image, caption), or with none: a gallery alone.

  Labels are image names or captions. The gallery are the images that no training row names, and the test queries'
  images; with captions, the images of test captions. From captions, training triplets are drawn as Fashion200k's, and
  each test image is one query, for a caption that differs in one word.
  """

  MANUAL_DOWNLOAD_INSTRUCTIONS = """A catalogue expects a folder of images, and one of
    data.triplets=FILE       columns reference, text, target; also split (train or test) and category, and negatives
                             with data.negatives_per_query; or MegaPairs' q_img, q_text, t_img, hns
    data.captions=FILE       columns image, caption; also split and category
  or none for a gallery alone. FILE ends in .csv, .jsonl or .parquet, or is a Hugging Face data set: hf:FOLDER or
  hf:OWNER/NAME. Images are paths from the folder. docs/your_catalogue.md has it all."""

  OPTIONS: ClassVar = {
    "triplets": text,
    "captions": text,
    "test_share": SHARE_OR_NONE,
    "allow_missing_images": boolean,
    "negatives_per_query": whole_number(0),
  }
  TOGETHER = (
    Together("captions", ("triplets",), only("", when=bool, why="beside config.data.triplets")),
    Together(
      "negatives_per_query", ("triplets",), only(0, when=lambda rows: not rows, why="without config.data.triplets")
    ),
  )

  @classmethod
  def needs_raw_folder(cls, options: Mapping[str, Any]) -> bool:
    """A Hugging Face data set may hold its images."""
    return not is_hub(options["triplets"] or options["captions"])

  @classmethod
  def fingerprinted(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options, and the content of the file of rows; of negatives only whether there are any, as their tables."""
    own = {name: value for name, value in options.items() if name != "negatives_per_query"}
    own |= {"negatives": True, "alternatives": True} if options["negatives_per_query"] else {}
    return {**own, "rows": source_fingerprint(options["triplets"] or options["captions"])}

  @classmethod
  def check_raw_files(cls, folder: pathlib.Path, options: Mapping[str, Any]) -> None:
    """Raises InputError when there is no such folder."""
    if not folder.is_dir():
      raise InputError(f"data.dir: {folder} is no folder\n{cls.MANUAL_DOWNLOAD_INSTRUCTIONS}")

  @classmethod
  def missing_images(cls, folder: pathlib.Path | None, options: Mapping[str, Any]) -> Sequence[str]:
    """The images that rows name and the folder lacks, sorted."""
    missing = _read_once(folder, tuple(sorted(options.items()))).missing
    if missing and folder is None:
      raise InputError(f"data.dir is not set: {options['triplets'] or options['captions']} names {missing[0]}")
    return missing

  def columns(self) -> dict[str, Any]:
    """Queries have their negatives and the texts that stand for one another, where negatives are asked for."""
    has_negatives = self.builder_config.name == "queries" and self.options["negatives_per_query"]
    return super().columns() | ({"negatives": NAMES, "alternatives": NAMES} if has_negatives else {})

  @classmethod
  def forget(cls) -> None:
    """Drops the rows, which three tables and a check were made from."""
    _read_once.cache_clear()

  def num_left_out(self) -> Mapping[str, int]:
    """Images and rows that are left out for want of images; says once what else is worth knowing."""
    if self.builder_config.name == "images":
      for note in self._content.notes:
        print(note, file=sys.stderr)
    return self._content.num_left_out

  def has_split(self, split: str) -> bool:
    """Whether there are such images, or rows for such queries."""
    table = self._content.queries if self.builder_config.name == "queries" else self._content.images
    return bool(table[split])

  def read_images(self, split: str) -> Sequence[Image]:
    """Sorted by name."""
    return self._content.images[split]

  def read_queries(self, split: str) -> Sequence[Query]:
    """In the order of the rows, or of the images."""
    return self._content.queries[split]

  @classmethod
  def label_separator(cls, options: Mapping[str, Any]) -> str:
    """Between the words of captions; without them labels are image names."""
    return " " if options["captions"] else ""

  @classmethod
  def queries_between(cls, images: Sequence[Image]) -> Sequence[Query]:
    """From each image to a caption that differs in one word."""
    return sibling_queries(images)

  @classmethod
  def sampler(cls, images: ImageTable, queries: QueryTable, text_query: str) -> TripletSampler:
    """The triplets that rows list or, from captions, as Fashion200k's."""
    if len(queries):
      return super().sampler(images, queries, text_query)
    return CaptionSampler(images.labels, complete_text=text_query == "complete")

  @property
  def _content(self) -> Content:
    return _read_once(self.raw_folder, tuple(sorted(self.options.items())))


@functools.lru_cache(maxsize=1)
def _read_once(folder: pathlib.Path | None, options: tuple[tuple[str, Any], ...]) -> Content:
  """Holds one of millions of rows at a time."""
  return read_content(folder, dict(options))
