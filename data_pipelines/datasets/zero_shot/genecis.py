"""GeneCIS from its four files of templates, Visual Genome's images and COCO's validation images of 2017."""

from collections.abc import Iterator, Mapping, Sequence
import functools
import os
import pathlib
from typing import Any, ClassVar, NamedTuple

from data_pipelines.datasets.annotations import check_text, excerpt, read_json
from data_pipelines.datasets.builder import TableBuilder
from data_pipelines.datasets.circo import LARGEST_ID
from data_pipelines.datasets.tables.rows import Image, Query
from data_pipelines.datasets.zero_shot.crops import Box, encoded_instance
from data_pipelines.field_rules import one_of, several
from data_pipelines.input_error import InputError
from data_pipelines.protocol import Protocol
from data_pipelines.untrusted_json import is_count

TASKS = ("focus_attribute", "change_attribute", "focus_object", "change_object")
COCO = "val2017"
MAX_DIGITS = 12  # of LARGEST_ID
VISUAL_GENOME = ("VG_100K", "VG_100K_2", "VG_All")  # the published layout, or all images in one folder


class Genecis(TableBuilder):
  """Vaze, Carion and Misra, "GeneCIS: A Benchmark for General Conditional Image Similarity", CVPR 2023.

  Nothing to train on. Categories are the tasks. A query ranks a gallery of its own, which is its subset. Labels name
  an image or, of the tasks about attributes, an instance: an image and a box, which is cut out when it is prepared.
  """

  MANUAL_DOWNLOAD_INSTRUCTIONS = f"""GeneCIS expects a folder that holds
    genecis/<task>.json                for example genecis/focus_attribute.json; or <task>.json itself
    VG_100K/<id>.jpg, VG_100K_2/<id>.jpg    for the tasks about attributes; or VG_All/<id>.jpg
    {COCO}/<id in twelve digits>.jpg   for the tasks about objects, for example {COCO}/000000000139.jpg
  Download the templates from https://github.com/facebookresearch/genecis (folder genecis), Visual Genome's images 1.2
  (both parts) from https://homes.cs.washington.edu/~ranjay/visualgenome/api.html, and COCO's validation images of 2017
  from https://cocodataset.org/#download."""

  IMAGE_SPLITS = ("test",)
  QUERY_SPLITS = ("test",)
  TEXT_QUERIES = ("modification",)
  OPTIONS: ClassVar = {"categories": several(one_of(TASKS), distinct=True)}
  PROTOCOLS: ClassVar = {
    "genecis": Protocol(
      "genecis",
      recall_at=(1, 2, 3),
      excludes_reference=False,
      ranks_subset=True,
      by_category=True,
      headline=("mean/R@1",),
    )
  }

  @classmethod
  def check_raw_files(cls, folder: pathlib.Path, options: Mapping[str, Any]) -> None:
    """Raises InputError, with what was found instead, unless `folder` has the tasks' files and folders of images."""
    tasks = options["categories"]
    found = {f"genecis/{task}.json": template_file(folder, task).is_file() for task in tasks}
    if any(task.endswith("_object") for task in tasks):
      found[f"folder {COCO}/"] = (folder / COCO).is_dir()
    if any(task.endswith("_attribute") for task in tasks):
      found["folder VG_100K/"] = any((folder / name).is_dir() for name in VISUAL_GENOME)
    cls.check_expected(folder, found)

  def read_images(self, split: str) -> Sequence[Image]:
    """Every image and every instance that a template names; raises InputError for images that are not on the disk."""
    folder = self.folder
    paths = {name: folder / part / name for part in (*VISUAL_GENOME, COCO) for name in _names_in(folder / part)}
    images, missing = [], []
    for instance in dict.fromkeys(own for template in self._templates() for own in template.instances):
      path = paths.get(instance.file)
      if path is None:
        missing.append(instance.file)
        continue
      name = path.relative_to(folder).as_posix()
      if instance.box is None:
        images.append(Image(name, instance.label, path))
      else:
        cut = functools.partial(encoded_instance, path, instance.box)
        images.append(Image(f"{name} {_numbers(instance.box)}", instance.label, cut))
    if missing:
      names = list(dict.fromkeys(missing))
      raise InputError(f"{len(names):,} images that the templates name are not in {folder}, for example {names[0]}")
    return images

  def read_queries(self, split: str) -> Sequence[Query]:
    """Every template of every task, in turn."""
    rows = {image.label: row for row, image in enumerate(self.read_images(split))}
    return [
      Query(
        rows[template.reference.label],
        template.condition,
        "",
        template.target.label,
        group=template.task,
        subset=tuple(instance.label for instance in (template.target, *template.gallery)),
        fields=(("condition", template.condition),),
      )
      for template in self._templates()
    ]

  def _templates(self) -> Iterator["Template"]:
    for task in self.options["categories"]:
      yield from read_templates(template_file(self.folder, task), task)


class Instance(NamedTuple):
  """An image of COCO or, with a box (left, top, width, height), a part of an image of Visual Genome."""

  image_id: int
  box: Box | None

  @property
  def file(self) -> str:
    """The name of the image's file."""
    return f"{self.image_id:012d}.jpg" if self.box is None else f"{self.image_id}.jpg"

  @property
  def label(self) -> str:
    """A key that no other one has."""
    return f"coco {self.image_id}" if self.box is None else f"visual_genome {self.image_id} {_numbers(self.box)}"


class Template(NamedTuple):
  """A query: find `target` among itself and `gallery`."""

  task: str
  condition: str
  reference: Instance
  target: Instance
  gallery: tuple[Instance, ...]

  @property
  def instances(self) -> tuple[Instance, ...]:
    """All that it names."""
    return (self.reference, self.target, *self.gallery)


def template_file(folder: pathlib.Path, task: str) -> pathlib.Path:
  """The file of a task: the original keeps it in a folder."""
  inside = folder / "genecis" / f"{task}.json"
  return inside if inside.is_file() else folder / f"{task}.json"


def read_templates(path: pathlib.Path, task: str) -> list[Template]:
  """The templates of a task; raises InputError where the file is not as published."""
  templates = []
  for number, fields in enumerate(read_json(path, list)):
    where = f"{path}: query {number}"
    own = fields if isinstance(fields, dict) else {}
    gallery, condition = own.get("gallery"), own.get("condition")
    if not isinstance(gallery, list) or not isinstance(condition, str):
      raise InputError(f"{where}: expected reference, target, gallery and condition, found {excerpt(fields)}")
    check_text(condition, where)
    reference, target, *others = (
      _instance(value, task, where) for value in (own.get("reference"), own.get("target"), *gallery)
    )
    templates.append(Template(task, condition, reference, target, tuple(others)))
  return templates


def _instance(fields: Any, task: str, where: str) -> Instance:
  own = fields if isinstance(fields, dict) else {}
  has_box = task.endswith("_attribute")
  image_id, box = own.get("image_id" if has_box else "val_image_id"), own.get("instance_bbox")
  if isinstance(image_id, str) and image_id.isascii() and image_id.isdigit() and len(image_id) <= MAX_DIGITS:
    image_id = int(image_id)  # Visual Genome's attributes have them as texts
  if not is_count(image_id, most=LARGEST_ID):
    raise InputError(f"{where}: expected {'image_id' if has_box else 'val_image_id'}, found {excerpt(fields)}")
  if not has_box:
    return Instance(image_id, None)
  numbers = box if isinstance(box, list) and all(type(number) in (int, float) for number in box) else []
  if len(numbers) != 4 or min(numbers[2:]) <= 0 or max(map(abs, numbers)) > LARGEST_ID:
    raise InputError(f"{where}: expected instance_bbox as [left, top, width, height], found {excerpt(fields)}")
  # One instance however its numbers are written.
  left, top, width, height = (int(number) if number == int(number) else number for number in numbers)
  return Instance(image_id, (left, top, width, height))


def _numbers(box: Box) -> str:
  return ",".join(map(str, box))


def _names_in(folder: pathlib.Path) -> list[str]:
  return os.listdir(folder) if folder.is_dir() else []
