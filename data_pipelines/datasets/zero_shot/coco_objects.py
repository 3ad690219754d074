"""Object composition from the list that Pic2Word's program makes of COCO's validation images of 2017."""

from collections.abc import Mapping, Sequence
import csv
import functools
import pathlib
from typing import Any, ClassVar, NamedTuple

from data_pipelines.datasets.annotations import check_inside, check_text, excerpt, read_text
from data_pipelines.datasets.builder import TableBuilder
from data_pipelines.datasets.tables.rows import Image, Query
from data_pipelines.datasets.zero_shot.crops import encoded_region
from data_pipelines.input_error import InputError
from data_pipelines.protocol import gallery_without_references, Protocol, REFERENCE

LIST, IMAGES, MASKED = "coco_eval.csv", "val2017", "val2017_masked"


FOLDER = "coco"  # of Pic2Word's layout
COLUMNS = ("id", "query_regions", "query_class", "classes")


class CocoObjects(TableBuilder):
  """Object composition as Saito et al., "Pic2Word", CVPR 2023, evaluate it: an object and the names of those with it.

  Nothing to train on. A reference is one object of the target, cut out and with white around it; its region is made
  square when it is prepared. Labels are file names. The text names all classes of the target, the object's first.
  """

  MANUAL_DOWNLOAD_INSTRUCTIONS = f"""Object composition expects a folder that holds
    {FOLDER}/{LIST}
    {FOLDER}/{IMAGES}/<id in twelve digits>.jpg
    {FOLDER}/{MASKED}/<id in twelve digits>.jpg
  or is {FOLDER}/ itself. Download COCO's validation images of 2017 and their instances from
  https://cocodataset.org/#download; data/coco/prepare_data.py of
  https://github.com/google-research/composed_image_retrieval makes the list and {MASKED}/ of them. It draws the
  objects at random: keep its output, for results to compare."""

  IMAGE_SPLITS = ("test",)
  QUERY_SPLITS = ("test",)
  TEXT_QUERIES = ("modification",)
  PROTOCOLS: ClassVar = {
    "coco_objects": Protocol("coco_objects", groups=gallery_without_references, excludes_reference=False)
  }

  @classmethod
  def check_raw_files(cls, folder: pathlib.Path, options: Mapping[str, Any]) -> None:
    """Raises InputError, with what was found instead, unless `folder` has the list and both folders of images."""
    root = root_of(folder)
    folders = {f"folder {FOLDER}/{name}/": (root / name).is_dir() for name in (IMAGES, MASKED)}
    cls.check_expected(folder, {f"{FOLDER}/{LIST}": (root / LIST).is_file()} | folders)

  def read_images(self, split: str) -> Sequence[Image]:
    """The targets, then the regions; raises InputError when an image is not on the disk."""
    root = root_of(self.folder)
    rows = read_rows(root / LIST)
    paths = [root / part / own.file for own in rows for part in (IMAGES, MASKED)]
    missing = [path for path in paths if not path.is_file()]
    if missing:
      raise InputError(f"{len(missing):,} images that {root / LIST} names are missing: {missing[0]}, ...")
    images = [Image(f"{IMAGES}/{own.file}", own.file, root / IMAGES / own.file) for own in rows]
    for own in rows:
      cut = functools.partial(encoded_region, root / MASKED / own.file, own.region)
      images.append(Image(f"{MASKED}/{own.file}", f"{REFERENCE} {own.file}", cut, REFERENCE))
    return images

  def read_queries(self, split: str) -> Sequence[Query]:
    """A query of each row."""
    rows = read_rows(root_of(self.folder) / LIST)
    return [
      Query(
        len(rows) + number,
        " and ".join([own.query_class, *own.other_classes]),
        "",
        own.file,
        fields=(("query_class", own.query_class), ("other_classes", " and ".join(own.other_classes))),
      )
      for number, own in enumerate(rows)
    ]


class Row(NamedTuple):
  """An image, the corners (left, top, right, bottom) of an object in it, its class and the other objects' classes."""

  file: str
  region: tuple[int, int, int, int]
  query_class: str
  other_classes: tuple[str, ...]


def root_of(folder: pathlib.Path) -> pathlib.Path:
  """The list's folder: Pic2Word's layout gives it a folder."""
  return folder / FOLDER if (folder / FOLDER).is_dir() else folder


def read_rows(path: pathlib.Path) -> list[Row]:
  """The rows of the list; raises InputError where it is not as the program writes it."""
  reader = csv.DictReader(read_text(path).splitlines(), strict=True)
  try:
    table = list(reader)
  except csv.Error as error:
    raise InputError(f"{path}:{reader.line_num}: no CSV ({error})") from error
  if not set(COLUMNS) <= set(reader.fieldnames or ()):
    raise InputError(f"{path}: expected columns {', '.join(COLUMNS)}, found {excerpt(reader.fieldnames)}")
  return [_row(fields, f"{path}: row {number}") for number, fields in enumerate(table)]


def _row(fields: Mapping[str, str | None], where: str) -> Row:
  file, regions, query_class, classes = (fields[name] for name in COLUMNS)
  if file is None or regions is None or query_class is None or classes is None:
    raise InputError(f"{where}: expected {', '.join(COLUMNS)}, found {excerpt(dict(fields))}")
  check_inside(file, where)
  check_text(query_class, where)
  try:
    left, top, right, bottom = (int(float(number)) for number in regions.split(";"))  # towards 0, as the original
  except (ValueError, OverflowError) as error:
    raise InputError(f"{where}: expected a region as left;top;right;bottom, found {excerpt(regions)}") from error
  return Row(file, (left, top, right, bottom), query_class, tuple(classes.split(";")) if classes else ())
