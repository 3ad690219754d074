"""CIRR from its captions, its splits and the images of NLVR2."""

from collections.abc import Mapping, Sequence
import os
import pathlib
import posixpath
from typing import Any, ClassVar, NamedTuple

from data_pipelines.datasets.annotations import check_inside, check_text, excerpt, read_json
from data_pipelines.datasets.builder import named, TableBuilder
from data_pipelines.datasets.tables.rows import Image, Query, SUBMISSION
from data_pipelines.field_rules import boolean
from data_pipelines.input_error import InputError
from data_pipelines.protocol import Protocol
from data_pipelines.untrusted_json import is_texts

FILE_SPLITS = {"train": "train", "test": "val", SUBMISSION: "test1"}


# In the folder, by the published name of a split: its queries, and the images that they rank.
CAPTIONS, SPLITS = "captions/cap.rc2.{}.json", "image_splits/split.rc2.{}.json"


IMAGE_ROOTS = ("img_raw", "images", ".")
NUM_MEMBERS = 6


class Cirr(TableBuilder):
  """Liu et al., "Image Retrieval on Real-life Images with Pre-trained Vision-and-Language Models", ICCV 2021.

  Labels are image names. The test split is the published validation split, the submission split the published test1,
  without targets. A query's subset are the five other images of its reference's set.
  """

  MANUAL_DOWNLOAD_INSTRUCTIONS = """CIRR expects a folder that holds
    captions/cap.rc2.<split>.json             split train, val and test1
    image_splits/split.rc2.<split>.json
    img_raw/<path in the split file>          for example img_raw/dev/dev-0-0-img0.png; or images/<path>, or <path>
  Download the annotations from https://github.com/Cuberick-Orion/CIRR/tree/cirr_dataset; they are of the images of
  NLVR2, for which https://lil.nlp.cornell.edu/nlvr has a form to ask."""

  PUBLISHED_AS: ClassVar = FILE_SPLITS
  IMAGE_SPLITS = tuple(FILE_SPLITS)
  QUERY_SPLITS = tuple(FILE_SPLITS)
  TEXT_QUERIES = ("modification",)
  PROTOCOLS: ClassVar = {
    "cirr": Protocol(
      "cirr", recall_at=(1, 5, 10, 50), num_ranked=50, subset_recall_at=(1, 2, 3), headline=("R@5", "subset/R@1")
    )
  }
  OPTIONS: ClassVar = {"allow_missing_images": boolean}

  @classmethod
  def check_raw_files(cls, folder: pathlib.Path, options: Mapping[str, Any]) -> None:
    """Raises InputError, with what was found instead, unless `folder` has all annotations."""
    files = [file.format(split) for split in FILE_SPLITS.values() for file in (CAPTIONS, SPLITS)]
    cls.check_expected(folder, {file: (folder / file).is_file() for file in files})

  @classmethod
  def missing_images(cls, folder: pathlib.Path | None, options: Mapping[str, Any]) -> Sequence[str]:
    """The images that the split files list and the disk lacks, by their paths; sorted."""
    return sorted(path for split in FILE_SPLITS for path in _missing(named(folder), split).values())

  def has_split(self, split: str) -> bool:
    """A submission must have every query: the split exists where all its images are on the disk."""
    return split != SUBMISSION or not _missing(self.folder, split)

  def num_left_out(self) -> Mapping[str, int]:
    """Gallery images and queries without their images, and the same for training."""
    folder, num_left_out = self.folder, dict[str, int]()
    for split, infix in (("test", ""), ("train", "train_")):
      missing = _missing(folder, split).keys()
      lacking = [not missing.isdisjoint(annotation.images) for annotation in read_annotations(folder, split)]
      num_left_out[f"num_missing_{infix}images"] = len(missing)
      num_left_out[f"num_missing_{infix}queries"] = sum(lacking)
    return num_left_out

  def read_images(self, split: str) -> Sequence[Image]:
    """The images that the split file lists and the disk has."""
    folder = self.folder
    root, missing = image_root(folder), _missing(folder, split)
    return [Image(path, name, root / path) for name, path in read_names(folder, split).items() if name not in missing]

  def read_queries(self, split: str) -> Sequence[Query]:
    """The queries all of whose images are on the disk."""
    rows = {image.label: row for row, image in enumerate(self.read_images(split))}
    return [
      Query(rows[query.reference], query.caption, "", query.target, id=query.id, subset=query.subset)
      for query in read_annotations(self.folder, split)
      if rows.keys() >= query.images
    ]


class Annotation(NamedTuple):
  """One query: image names, the target's "" where it is not published, and the subset's () for training."""

  id: str
  reference: str
  caption: str
  target: str
  subset: tuple[str, ...]

  @property
  def images(self) -> set[str]:
    """All the images that it names."""
    return {self.reference, self.target, *self.subset} - {""}


def image_root(folder: pathlib.Path) -> pathlib.Path:
  """The first of IMAGE_ROOTS that is there: the paths in split files begin in it."""
  return next(folder / root for root in IMAGE_ROOTS if (folder / root).is_dir())


def read_names(folder: pathlib.Path, split: str) -> dict[str, str]:
  """The paths of a split's images by their names; raises InputError when the split file is not as published."""
  file = folder / SPLITS.format(FILE_SPLITS[split])
  names = {}
  for name, path in read_json(file, dict).items():
    if not isinstance(path, str):
      raise InputError(f"{file}: {excerpt(name)}: expected a path, found {excerpt(path)}")
    check_inside(name, str(file))
    check_inside(path, f"{file}: {excerpt(name)}")
    names[name] = posixpath.normpath(path)
  return names


def _missing(folder: pathlib.Path, split: str) -> dict[str, str]:
  root = image_root(folder)
  return {name: path for name, path in read_names(folder, split).items() if not os.path.isfile(root / path)}


def read_annotations(folder: pathlib.Path, split: str) -> list[Annotation]:
  """The queries of a split; raises InputError when the file is not as published or names images that no list has."""
  path, split_file = (folder / file.format(FILE_SPLITS[split]) for file in (CAPTIONS, SPLITS))
  names = read_names(folder, split)
  annotations: list[Annotation] = []
  ids: set[str] = set()
  for number, query in enumerate(read_json(path, list)):
    annotation = _annotation(query, split, f"{path}: query {number}")
    unknown = sorted(annotation.images - names.keys())
    if unknown:
      raise InputError(f"{path}: query {number} names {excerpt(unknown[0])}, {split_file} does not")
    if annotation.id in ids:
      raise InputError(f"{path}: query {number}: pairid {annotation.id} is there before")
    ids.add(annotation.id)
    annotations.append(annotation)
  return annotations


def _annotation(query: Any, split: str, where: str) -> Annotation:
  fields = query if isinstance(query, dict) else {}
  texts = [fields.get(name) for name in ("reference", "caption")]
  texts.append("" if split == SUBMISSION else fields.get("target_hard"))
  if not is_texts(texts) or type(fields.get("pairid")) is not int:
    expected = "pairid, reference and caption" + ("" if split == SUBMISSION else " and target_hard")
    raise InputError(f"{where}: expected {expected}, found {excerpt(query)}")
  reference, caption, target = texts
  if split != SUBMISSION or caption.strip():  # one published text is blank there
    check_text(caption, where)
  subset = () if split == "train" else _subset(fields.get("img_set"), reference, target, where)
  return Annotation(str(fields["pairid"]), reference, caption, target, subset)


def _subset(image_set: Any, reference: str, target: str, where: str) -> tuple[str, ...]:
  """The members of the set but the reference."""
  members = image_set.get("members") if isinstance(image_set, dict) else None
  if not is_texts(members):
    raise InputError(f"{where}: expected img_set with a list of members, found {excerpt(image_set)}")
  if len(members) != NUM_MEMBERS or len(set(members)) != NUM_MEMBERS:
    raise InputError(f"{where}: expected {NUM_MEMBERS} different members of img_set, found {excerpt(members)}")
  if not {reference, target} - {""} <= set(members):
    raise InputError(f"{where}: reference or target is no member of its img_set {excerpt(members)}")
  return tuple(name for name in members if name != reference)
