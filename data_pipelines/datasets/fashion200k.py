"""Fashion200k from its label files and its folder of images."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
import os
import pathlib
from typing import Any, ClassVar

from data_pipelines.datasets.annotations import check_inside, check_text, excerpt, numbered_lines
from data_pipelines.datasets.builder import TableBuilder
from data_pipelines.datasets.sibling_queries import sibling_queries
from data_pipelines.datasets.tables.rows import Image, Query
from data_pipelines.folders import is_litter
from data_pipelines.input_error import InputError
from data_pipelines.protocol import Protocol
from data_pipelines.samplers import CaptionSampler
from data_pipelines.tables import ImageTable, QueryTable, TripletSampler
from data_pipelines.texts.labels import replacement_text

# The words that captions keep in place of signs that the original's tokeniser would drop.
SIGNS = {".": "dotmark", "?": "questionmark", "&": "andmark", "*": "starmark"}


class Fashion200k(TableBuilder):
  """Han et al., "Automatic Spatially-aware Fashion Concept Discovery", ICCV 2017.

  Labels are captions. Captions and test queries follow TIRG (Vo et al., CVPR 2019).
  """

  MANUAL_DOWNLOAD_INSTRUCTIONS = """Fashion200k expects a folder that holds
    labels/*_train_*.txt, labels/*_test_*.txt      for example labels/dress_train_detect_all.txt
    women/<category>/<caption>/<id>/*.jpeg
    test_queries.txt                               two paths a line, reference and target
  Download labels and images as https://github.com/xthan/fashion-200k says, and the queries from
  https://storage.googleapis.com/image_retrieval_css/test_queries.txt."""

  QUERY_SPLITS = ("test",)
  PROTOCOLS: ClassVar = {"fashion200k": Protocol(recall_at=(1, 10, 50), num_ranked=50)}

  @classmethod
  def check_raw_files(cls, folder: pathlib.Path, options: Mapping[str, Any]) -> None:
    """Raises InputError, with what was found instead, unless `folder` has label files, images and test queries."""
    expected = {
      "labels/*_train_*.txt": bool(label_files(folder, "train")),
      "labels/*_test_*.txt": bool(label_files(folder, "test")),
      "women/": (folder / "women").is_dir(),
      "test_queries.txt": (folder / "test_queries.txt").is_file(),
    }
    cls.check_expected(folder, expected)

  def read_images(self, split: str) -> Sequence[Image]:
    """The images of a split in the order of its label files, sorted by name; raises InputError for a missing image."""
    root = self.folder
    images = [
      Image(name, clean_caption(caption), root / name)
      for path in label_files(root, split)
      for name, caption in _read_label_file(path)
    ]
    missing = [image.name for image in images if not os.path.isfile(root / image.name)]
    if missing:
      raise InputError(f"{len(missing):,} images of {root / 'labels'} are missing, for example {root / missing[0]}")
    return images

  def read_queries(self, split: str) -> Sequence[Query]:
    """The queries of test_queries.txt; raises InputError for a line that names no two images."""
    images = self.read_images(split)
    rows = {image.name: row for row, image in enumerate(images)}
    path = self.folder / "test_queries.txt"
    queries = []
    for number, line in numbered_lines(path):
      names = line.split()
      if len(names) != 2 or not rows.keys() >= set(names):
        raise InputError(f"{path}:{number}: {excerpt(line)}, expected two paths that labels/*_test_*.txt have")
      reference, target = (rows[name] for name in names)
      caption = images[target].label
      text = replacement_text(images[reference].label, caption)
      queries.append(Query(reference, text, caption, caption))
    return queries

  @classmethod
  def label_separator(cls, options: Mapping[str, Any]) -> str:
    """Between words."""
    return " "

  @classmethod
  def queries_between(cls, images: Sequence[Image]) -> Sequence[Query]:
    """From each image to a caption that differs in one word."""
    return sibling_queries(images)

  @classmethod
  def sampler(cls, images: ImageTable, queries: QueryTable, text_query: str) -> TripletSampler:
    """From any image to one whose caption differs in one word."""
    return CaptionSampler(images.labels, complete_text=text_query == "complete")


def label_files(folder: pathlib.Path, split: str) -> list[pathlib.Path]:
  """The label files of a split, sorted by name; none where there is no folder `labels`."""
  labels = folder / "labels"
  names = os.listdir(labels) if labels.is_dir() else []
  return sorted(labels / name for name in names if not is_litter(name) and fnmatch(name, f"*_{split}_*.txt"))


def clean_caption(text: str) -> str:
  """The caption without white space around it, and with words in place of four signs."""
  text = text.strip()
  for sign, word in SIGNS.items():
    text = text.replace(sign, word)
  return text


def _read_label_file(path: pathlib.Path) -> Iterator[tuple[str, str]]:
  for number, line in numbered_lines(path):
    where, fields = f"{path}:{number}", line.split("\t")
    if len(fields) != 3:
      raise InputError(f"{where}: {excerpt(line)}, expected path, detection score and caption with tabs between them")
    check_inside(fields[0], where)
    check_text(fields[2], where)
    yield fields[0], fields[2]
