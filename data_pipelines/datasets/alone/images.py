"""Images alone: any folder of them. Each is the target of its own query, as Pic2Word is trained."""

from collections.abc import Mapping, Sequence
import functools
import pathlib
import sys
from typing import Any, ClassVar

from data_pipelines.datasets.builder import TableBuilder
from data_pipelines.datasets.tables.rows import Image, Query
from data_pipelines.field_rules import SHARE, text
from data_pipelines.folders import list_files, Listing
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import SUFFIXES
from data_pipelines.protocol import Protocol
from data_pipelines.texts.drawn_names import drawn

# The query's own image stays in what it ranks: it is the right one.
PROTOCOLS: Mapping[str, Protocol] = {"with_reference": Protocol(excludes_reference=False)}


class ImagesAlone(TableBuilder):
  """A folder of images, with any subfolders. The text of each query is `prompt`, in which a word stands for the image.

  Recall says how well that word stands for the image: the one right answer is the query's own image.
  """

  MANUAL_DOWNLOAD_INSTRUCTIONS = "Images alone expect a folder of images, with any subfolders."
  TEXT_QUERIES = ("modification",)
  PROTOCOLS = PROTOCOLS
  OPTIONS: ClassVar = {"prompt": text, "test_share": SHARE}

  @classmethod
  def check_raw_files(cls, folder: pathlib.Path, options: Mapping[str, Any]) -> None:
    """Raises InputError when there is no such folder."""
    if not folder.is_dir():
      raise InputError(f"data.dir: {folder} is no folder\n{cls.MANUAL_DOWNLOAD_INSTRUCTIONS}")

  def read_images(self, split: str) -> Sequence[Image]:
    """Sorted by name; `test_share` of them are for test, as their names decide. Raises InputError where there are none.

    The terminal says what the folder has beside images.
    """
    if (note := self._listing.note(self.folder)) and self.builder_config.name == "images" and split == "test":
      print(note, file=sys.stderr)
    share = self.options["test_share"]
    images = [
      Image(name, name, path) for name, path in self._listing.files.items() if drawn(name, share) == (split == "test")
    ]
    if not images:
      raise InputError(
        f"{self.folder}: of {len(self._listing.files):,} images ({', '.join(SUFFIXES)}) config.data.test_share={share} "
        f"leaves none for {split}"
      )
    return images

  def read_queries(self, split: str) -> Sequence[Query]:
    """One from each image to itself."""
    prompt = self.options["prompt"]
    return [Query(row, prompt, prompt, image.label) for row, image in enumerate(self.read_images(split))]

  @functools.cached_property
  def _listing(self) -> Listing:
    return list_files(self.folder, SUFFIXES)
