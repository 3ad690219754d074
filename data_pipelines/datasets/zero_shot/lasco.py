"""LaSCo from its triplets, the list of its corpus, and COCO's images of 2014."""

from collections.abc import Mapping, Sequence
import os
import pathlib
from typing import Any, ClassVar, NamedTuple

from data_pipelines.datasets.annotations import check_inside, check_text, excerpt, read_json
from data_pipelines.datasets.builder import TableBuilder
from data_pipelines.datasets.tables.rows import Image, Query
from data_pipelines.input_error import InputError

TRIPLETS = {"train": "lasco_train.json", "test": "lasco_val.json"}
CORPUS = "lasco_val_corpus.json"
FOLDERS = ("train2014", "val2014")


class Lasco(TableBuilder):
  """Levy et al., "Data Roaming and Quality Assessment for Composed Image Retrieval", AAAI 2024.

  Labels are image names. The test split is the published validation split, whose gallery is the published corpus. The
  training split has the images that the training triplets name.
  """

  MANUAL_DOWNLOAD_INSTRUCTIONS = f"""LaSCo expects a folder that holds
    {TRIPLETS["train"]}, {TRIPLETS["test"]} and {CORPUS}
    train2014/COCO_train2014_<id in twelve digits>.jpg
    val2014/COCO_val2014_<id in twelve digits>.jpg
  Download the annotations from https://github.com/levymsn/LaSCo (folder downloads), and from
  https://cocodataset.org/#download the training and validation images of 2014."""

  PUBLISHED_AS: ClassVar = {"test": "val"}
  TEXT_QUERIES = ("modification",)

  @classmethod
  def check_raw_files(cls, folder: pathlib.Path, options: Mapping[str, Any]) -> None:
    """Raises InputError, with what was found instead, unless `folder` has all annotations and folders of images."""
    found = {name: (folder / name).is_file() for name in (*TRIPLETS.values(), CORPUS)}
    cls.check_expected(folder, found | {f"folder {name}/": (folder / name).is_dir() for name in FOLDERS})

  def read_images(self, split: str) -> Sequence[Image]:
    """The corpus, or what the training triplets name; raises InputError when an image is not on the disk."""
    folder = self.folder
    if split == "test":
      names = read_corpus(folder / CORPUS)
    else:
      triplets = read_triplets(folder / TRIPLETS[split])
      names = list(dict.fromkeys(name for own in triplets for name in (own.reference, own.target)))
    on_disk = {f"{part}/{name}" for part in FOLDERS for name in os.listdir(folder / part)}
    missing = [name for name in names if name not in on_disk]
    if missing:
      raise InputError(f"{len(missing):,} images of LaSCo's {split} split are missing: {folder / missing[0]}, ...")
    return [Image(name, name, folder / name) for name in names]

  def read_queries(self, split: str) -> Sequence[Query]:
    """All triplets; raises InputError when one names an image that the corpus lacks."""
    path = self.folder / TRIPLETS[split]
    rows = {image.name: row for row, image in enumerate(self.read_images(split))}
    queries = []
    for number, own in enumerate(read_triplets(path)):
      for name in (own.reference, own.target):
        if name not in rows:
          raise InputError(f"{path}: query {number} names {excerpt(name)}, which is not in {CORPUS}")
      queries.append(Query(rows[own.reference], own.text, "", own.target, id=own.id))
    return queries


class Triplet(NamedTuple):
  """A query: names of images, and the text that leads from one to the other."""

  id: str
  reference: str
  target: str
  text: str


def read_triplets(path: pathlib.Path) -> list[Triplet]:
  """The queries of a split; raises InputError where the file is not as published."""
  triplets = []
  for number, query in enumerate(read_json(path, list)):
    where, fields = f"{path}: query {number}", query if isinstance(query, dict) else {}
    text, query_id = fields.get("query-text"), fields.get("qid")
    paths = [_path(fields.get(name)) for name in ("query-image", "target-image")]
    if not isinstance(text, str) or type(query_id) is not int or not all(paths):
      raise InputError(f"{where}: expected qid, query-image, query-text and target-image, found {excerpt(query)}")
    check_text(text, where)
    reference, target = (_name(path, where) for path in paths)
    triplets.append(Triplet(str(query_id), reference, target, text))
  return triplets


def read_corpus(path: pathlib.Path) -> list[str]:
  """The names of the gallery's images, in order; raises InputError where the file is not as published."""
  names = []
  for number, image in enumerate(read_json(path, list)):
    found = image.get("path") if isinstance(image, dict) else None
    if not isinstance(found, str):
      raise InputError(f"{path}: image {number}: expected id and path, found {excerpt(image)}")
    names.append(_name(found, f"{path}: image {number}"))
  return names


def _path(image: Any) -> str:
  """The path of an image as triplets have it, with its id before the path; "" where it is none."""
  return image[1] if isinstance(image, list) and len(image) == 2 and isinstance(image[1], str) else ""


def _name(path: str, where: str) -> str:
  """The last folder and the file: paths in the corpus begin with the folder of the split as well."""
  check_inside(path, where)
  name = "/".join(path.split("/")[-2:])
  if name.partition("/")[0] not in FOLDERS:
    raise InputError(f"{where}: {excerpt(path)}, expected a file in {' or '.join(FOLDERS)}")
  return name
