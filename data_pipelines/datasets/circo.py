"""CIRCO from its annotations and COCO's unlabelled images of 2017."""

from collections.abc import Mapping, Sequence, Set
import os
import pathlib
from typing import Any, ClassVar, NamedTuple

from data_pipelines.datasets.annotations import check_text, excerpt, read_json
from data_pipelines.datasets.builder import TableBuilder
from data_pipelines.datasets.tables.rows import Image, Query, SUBMISSION
from data_pipelines.input_error import InputError
from data_pipelines.protocol import Protocol
from data_pipelines.untrusted_json import is_count

LARGEST_ID = 10**12 - 1  # files have twelve digits
COCO = "COCO2017_unlabeled"
IMAGES = "unlabeled2017"
IMAGE_INFO = "annotations/image_info_unlabeled2017.json"
_FILE_SPLITS = {"test": "val", SUBMISSION: "test"}
_AT = (5, 10, 25, 50)


class Circo(TableBuilder):
  """Baldrati et al., "Zero-Shot Composed Image Retrieval with Textual Inversion", ICCV 2023.

  Nothing to train on. Labels are COCO's ids. The test split is the published validation split, the submission split
  the published test split, without targets; both have one gallery.
  """

  MANUAL_DOWNLOAD_INSTRUCTIONS = f"""CIRCO expects a folder that holds
    annotations/val.json and annotations/test.json
    {COCO}/{IMAGE_INFO}
    {COCO}/{IMAGES}/<id in twelve digits>.jpg      for example {IMAGES}/000000000008.jpg
  {COCO}/ may be left out: {IMAGE_INFO} and {IMAGES}/ are then in the folder itself.
  Download the annotations from https://github.com/miccunifi/CIRCO, and from https://cocodataset.org/#download the
  unlabelled images of 2017 and their image info."""

  PUBLISHED_AS: ClassVar = _FILE_SPLITS
  IMAGE_SPLITS = ("test",)
  QUERY_SPLITS = ("test", SUBMISSION)
  TEXT_QUERIES = ("modification",)
  PROTOCOLS: ClassVar = {
    "circo": Protocol("circo", recall_at=_AT, num_ranked=50, average_precision_at=_AT),
    "circo_with_reference": Protocol(
      "circo", recall_at=_AT, num_ranked=50, average_precision_at=_AT, excludes_reference=False
    ),
  }

  @classmethod
  def check_raw_files(cls, folder: pathlib.Path, options: Mapping[str, Any]) -> None:
    """Raises InputError, with what was found instead, unless `folder` has all annotations and the images' folder."""
    files = [f"annotations/{split}.json" for split in _FILE_SPLITS.values()]
    coco = coco_folder(folder)
    found = {name: (folder / name).is_file() for name in files}
    found[IMAGE_INFO] = (coco / IMAGE_INFO).is_file()
    cls.check_expected(folder, found | {f"folder {IMAGES}/": (coco / IMAGES).is_dir()})

  def read_images(self, split: str) -> Sequence[Image]:
    """Every image of COCO's list, in its order; raises InputError when one is not on the disk."""
    coco = coco_folder(self.folder)
    names = {image_id: f"{IMAGES}/{image_id:012d}.jpg" for image_id in read_ids(coco / IMAGE_INFO)}
    on_disk = {f"{IMAGES}/{name}" for name in os.listdir(coco / IMAGES)}
    missing = [name for name in names.values() if name not in on_disk]
    if missing:
      raise InputError(f"{len(missing):,} images that {coco / IMAGE_INFO} lists are missing: {coco / missing[0]}, ...")
    return [Image(name, str(image_id), coco / name) for image_id, name in names.items()]

  def read_queries(self, split: str) -> Sequence[Query]:
    """All queries of the published split."""
    folder = self.folder
    ids = read_ids(coco_folder(folder) / IMAGE_INFO)
    rows = {image_id: row for row, image_id in enumerate(ids)}
    return [
      Query(
        rows[query.reference],
        query.caption,
        "",
        str(query.right[0]) if query.right else "",
        id=str(query.id),
        right_labels=tuple(map(str, query.right)),
        fields=(("shared_concept", query.shared_concept),) if query.shared_concept else (),
      )
      for query in read_annotations(folder / "annotations" / f"{_FILE_SPLITS[split]}.json", split, rows.keys())
    ]


class Annotation(NamedTuple):
  """One query: image ids, and in `right` first the target's, then all others that are right.

  `shared_concept` says what reference and target have in common; "" where the file does not.
  """

  id: int
  reference: int
  caption: str
  right: Sequence[int]
  shared_concept: str


def coco_folder(folder: pathlib.Path) -> pathlib.Path:
  """The folder of COCO's files: CIRCO's own layout gives them a folder."""
  return folder / COCO if (folder / COCO).is_dir() else folder


def read_ids(path: pathlib.Path) -> list[int]:
  """The ids that COCO's list has; raises InputError when it is not as published."""
  images = read_json(path, dict).get("images")
  if not isinstance(images, list):
    raise InputError(f"{path}: expected a list of images, found {excerpt(images)}")
  ids: list[int] = []
  for number, image in enumerate(images):
    image_id = image.get("id") if isinstance(image, dict) else None
    if not is_count(image_id, most=LARGEST_ID):
      raise InputError(f"{path}: image {number}: expected an id, found {excerpt(image)}")
    ids.append(image_id)
  if len(set(ids)) < len(ids):
    raise InputError(f"{path}: an id is listed twice: a gallery holds an image once")
  return ids


def read_annotations(path: pathlib.Path, split: str, gallery: Set[int]) -> list[Annotation]:
  """The queries of a file; raises InputError when it is not as published or names images that `gallery` lacks."""
  annotations: list[Annotation] = []
  ids: set[int] = set()
  for number, query in enumerate(read_json(path, list)):
    where = f"{path}: query {number}"
    annotation = _annotation(query, split, where)
    unknown = {annotation.reference, *annotation.right} - gallery
    if unknown:
      raise InputError(f"{where} names image {min(unknown)}, which is not in {IMAGE_INFO}")
    if annotation.id in ids:
      raise InputError(f"{where}: id {annotation.id} is there before")
    ids.add(annotation.id)
    annotations.append(annotation)
  return annotations


def _annotation(query: Any, split: str, where: str) -> Annotation:
  fields = query if isinstance(query, dict) else {}
  query_id, reference, caption = (fields.get(name) for name in ("id", "reference_img_id", "relative_caption"))
  if (
    not is_count(query_id, most=LARGEST_ID) or not is_count(reference, most=LARGEST_ID) or not isinstance(caption, str)
  ):
    raise InputError(f"{where}: expected id, reference_img_id and relative_caption, found {excerpt(query)}")
  if split != SUBMISSION or caption.strip():
    check_text(caption, where)
  shared_concept = fields.get("shared_concept", "")
  if not isinstance(shared_concept, str):
    raise InputError(f"{where}: expected a text as shared_concept, found {excerpt(shared_concept)}")
  right = () if split == SUBMISSION else _right(fields, where)
  return Annotation(query_id, reference, caption, right, shared_concept)


def _right(fields: Mapping[str, Any], where: str) -> tuple[int, ...]:
  target, right = fields.get("target_img_id"), fields.get("gt_img_ids")
  if not isinstance(right, list) or not all(is_count(image, most=LARGEST_ID) for image in (target, *right)):
    raise InputError(f"{where}: expected target_img_id and a list of gt_img_ids, found {excerpt(dict(fields))}")
  if target not in right or fields["reference_img_id"] in right or len(set(right)) < len(right):
    raise InputError(
      f"{where}: expected different gt_img_ids, with the target and without the reference, found {excerpt(right)}"
    )
  return (target, *(image for image in right if image != target))
