"""FashionIQ from its captions, its splits and a folder of images, of which many are no longer to be had."""

from collections.abc import Mapping, Sequence
import pathlib
import posixpath
import sys
from typing import Any, ClassVar, NamedTuple

from data_pipelines.datasets.annotations import check_inside, check_text, excerpt, read_json
from data_pipelines.datasets.builder import named, TableBuilder
from data_pipelines.datasets.tables.rows import Image, Query
from data_pipelines.field_rules import boolean, one_of, several
from data_pipelines.folders import list_files, normal_name
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import SUFFIXES
from data_pipelines.protocol import gallery_of_own_group, one_gallery_of_distinct_labels, Protocol
from data_pipelines.untrusted_json import is_texts

CATEGORIES = ("dress", "shirt", "toptee")
_HEADLINE = ("mean/R@10", "mean/R@50")
_FILE_SPLITS = {"train": "train", "test": "val"}  # the published test split has no targets


class FashionIQ(TableBuilder):
  """Wu et al., "Fashion IQ: A New Dataset Towards Retrieving Images by Natural Language Feedback", CVPR 2021.

  Labels are image names, groups are categories. The test split is the published validation split: an entry for each
  name of each category's split file. The training split has the images that the training triplets name.
  """

  MANUAL_DOWNLOAD_INSTRUCTIONS = """FashionIQ expects a folder that holds
    captions/cap.<category>.<split>.json             for example captions/cap.dress.train.json; split train and val
    image_splits/split.<category>.<split>.json       for example image_splits/split.dress.val.json
    images/<name>.jpg                                or .png, .webp, ...; subfolders are searched too
  Download the annotations from https://github.com/XiaoxiaoGuo/fashion-iq and the images from the addresses in
  https://github.com/hongwang600/fashion-iq-metadata."""

  PUBLISHED_AS: ClassVar = {"test": _FILE_SPLITS["test"]}
  OPTIONS: ClassVar = {"categories": several(one_of(CATEGORIES), distinct=True), "allow_missing_images": boolean}
  PROTOCOLS: ClassVar = {
    "fashion_iq": Protocol(
      "fashion_iq",
      recall_at=(10, 50),
      num_ranked=50,
      groups=gallery_of_own_group,
      excludes_reference=False,
      by_category=True,
      headline=_HEADLINE,
    ),
    "fashion_iq_compose_ae": Protocol(
      "fashion_iq",
      groups=one_gallery_of_distinct_labels,
      excludes_reference=False,
      by_category=True,
      headline=_HEADLINE,
    ),
  }

  @classmethod
  def check_raw_files(cls, folder: pathlib.Path, options: Mapping[str, Any]) -> None:
    """Raises InputError for unknown categories, or when `folder` lacks their annotations or the images' folder."""
    categories = tuple(options["categories"])
    if expected := cls.OPTIONS["categories"](categories):
      raise InputError(f"config.data.categories is {categories}, expected {expected}")
    files = [f"captions/cap.{category}.{split}.json" for category in categories for split in ("train", "val")]
    files += [f"image_splits/split.{category}.val.json" for category in categories]
    found = {name: (folder / name).is_file() for name in files}
    cls.check_expected(folder, found | {"folder images/": (folder / "images").is_dir()})

  @classmethod
  def missing_images(cls, folder: pathlib.Path | None, options: Mapping[str, Any]) -> Sequence[str]:
    """The names of gallery images, and of images that training triplets name, without a file; sorted."""
    folder = named(folder)
    wanted = {name for split in _FILE_SPLITS for _, name in read_names(folder, options["categories"], split)}
    return sorted(wanted - images_on_disk(folder).keys())

  def num_left_out(self) -> Mapping[str, int]:
    """Gallery entries and queries without their images, and the same for training; says what else is left out."""
    images = self.folder / "images"
    if self.builder_config.name == "images" and (note := list_files(images, SUFFIXES).note(images)):
      print(note, file=sys.stderr)
    missing = set(self.missing_images(self.folder, self.options))
    num_left_out: dict[str, int] = {}
    for split, infix in (("test", ""), ("train", "train_")):
      names = read_names(self.folder, self.options["categories"], split)
      queries = read_annotations(self.folder, self.options["categories"], split)
      lacking = [query.reference in missing or query.target in missing for query in queries]
      num_left_out[f"num_missing_{infix}images"] = sum(name in missing for _, name in names)
      num_left_out[f"num_missing_{infix}queries"] = sum(lacking)
    return num_left_out

  def read_images(self, split: str) -> Sequence[Image]:
    """The images of every category that are on the disk."""
    found = images_on_disk(self.folder)
    return [
      Image(found[name][0], name, found[name][1], category)
      for category, name in read_names(self.folder, self.options["categories"], split)
      if name in found
    ]

  def read_queries(self, split: str) -> Sequence[Query]:
    """The queries of every category whose two images are on the disk.

    Raises InputError when a category has none, or a query names an image that its category's split does not list.
    """
    rows = {(image.group, image.label): row for row, image in enumerate(self.read_images(split))}
    listed, queries = set(read_names(self.folder, self.options["categories"], split)), []
    for category, reference, target, captions in read_annotations(self.folder, self.options["categories"], split):
      for name in (reference, target):
        if (category, name) not in listed:
          raise InputError(
            f"captions/cap.{category}.val.json names {excerpt(name)[1:-1]}, image_splits/split.{category}.val.json "
            "does not"
          )
      if rows.keys() >= {(category, reference), (category, target)}:
        row, complete = rows[category, reference], complete_text(category, captions)
        fields = tuple((f"caption_{number}", caption) for number, caption in enumerate(captions))
        queries.append(Query(row, modification_text(captions), complete, target, group=category, fields=fields))
    without = set(self.options["categories"]) - {query.group for query in queries}
    if without:
      raise InputError(f"{self.raw_folder}: no {split} query of {', '.join(sorted(without))} has both its images")
    return queries


class Annotation(NamedTuple):
  """One query of a category: two image names, and how two people said what to change."""

  category: str
  reference: str
  target: str
  captions: Sequence[str]


def modification_text(captions: Sequence[str]) -> str:
  """The captions as CLIP4Cir joins them: "Is black and has longer sleeves"."""
  first, *others = (caption.strip(".?, ") for caption in captions)
  return " and ".join([first.capitalize(), *others])


def complete_text(category: str, captions: Sequence[str]) -> str:
  """The category and the captions as ComposeAE joins them: "dress is black and it has longer sleeves"."""
  return f"{category} {' and it '.join(captions)}".lower()


def read_annotations(folder: pathlib.Path, categories: Sequence[str], split: str) -> list[Annotation]:
  """The queries of each category in turn; raises InputError when a file is not as published."""
  annotations = []
  paths = {category: folder / "captions" / f"cap.{category}.{_FILE_SPLITS[split]}.json" for category in categories}
  for category, path in paths.items():
    for number, query in enumerate(read_json(path, list)):
      where, fields = f"{path}: query {number}", query if isinstance(query, dict) else {}
      names, captions = [fields.get(field) for field in ("candidate", "target")], fields.get("captions")
      if not is_texts(names) or not captions or not is_texts(captions):
        raise InputError(f"{where}: expected candidate, captions and target, found {excerpt(query)}")
      for name in names:
        check_inside(name, where)
      check_text(" ".join(captions).strip(".?, "), where)  # of two captions one may be blank, as published ones are
      reference, target = map(normal_name, names)
      annotations.append(Annotation(category, reference, target, tuple(captions)))
  return annotations


def read_names(folder: pathlib.Path, categories: Sequence[str], split: str) -> list[tuple[str, str]]:
  """Category and image name of the galleries that split files list, or of what training triplets name.

  Raises InputError when a file is not as published.
  """
  if split == "train":
    annotations = read_annotations(folder, categories, split)
    return list(dict.fromkeys((own.category, name) for own in annotations for name in (own.reference, own.target)))
  entries: list[tuple[str, str]] = []
  for category in categories:
    path = folder / "image_splits" / f"split.{category}.{_FILE_SPLITS[split]}.json"
    names = read_json(path, list)
    for name in names:
      if not isinstance(name, str):
        raise InputError(f"{path}: expected a list of image names, found {excerpt(name)} in it")
      check_inside(name, str(path))
    names = [normal_name(name) for name in names]
    if len(set(names)) < len(names):
      twice = next(name for name in names if names.count(name) > 1)
      raise InputError(f"{path}: {excerpt(twice)} is listed twice: a gallery holds an image once")
    entries += [(category, name) for name in names]
  return entries


def images_on_disk(folder: pathlib.Path) -> dict[str, tuple[str, pathlib.Path]]:
  """The image files under `folder`/images, by the stem that annotations name: the name from `folder`, and the path."""
  files = list_files(folder / "images", SUFFIXES).files
  return {posixpath.splitext(posixpath.basename(name))[0]: (f"images/{name}", file) for name, file in files.items()}
