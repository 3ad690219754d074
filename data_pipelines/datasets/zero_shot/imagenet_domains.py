"""Domain conversion from Pic2Word's two lists, ImageNet's validation images and ImageNet-R."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any, ClassVar, NamedTuple

from data_pipelines.datasets.annotations import check_inside, excerpt, numbered_lines
from data_pipelines.datasets.builder import TableBuilder
from data_pipelines.datasets.tables.rows import Image, Query
from data_pipelines.field_rules import one_of, several
from data_pipelines.input_error import InputError
from data_pipelines.protocol import gallery_without_references, Protocol, REFERENCE

DOMAINS = ("cartoon", "origami", "toy", "sculpture")  # as the lists number them; photographs have a later number
NUM_CLASSES = 1000  # a target's number is NUM_CLASSES * its domain's + its class's


QUERIES, TARGETS = "imgnet_real_query.txt", "imgnet_targets.txt"


PREFIX = "imgnet/"  # before every path in the lists
RECALL_AT = (1, 5, 10, 50, 100, 200)


class ImagenetDomains(TableBuilder):
  """Domain conversion as Saito et al., "Pic2Word", CVPR 2023, evaluate it: from a photograph to a drawing of its class.

  Nothing to train on. Categories are the domains that are asked for; the gallery has all targets that are listed: four
  domains, and the photographs, each query's own among them. Labels are the list's numbers of domain and class. A
  photograph that the list of targets lacks is a reference alone.
  """

  MANUAL_DOWNLOAD_INSTRUCTIONS = f"""Domain conversion expects a folder that holds
    imgnet/{QUERIES} and imgnet/{TARGETS}
    imgnet/real/<synset>/<name>.JPEG         for example imgnet/real/n04086273/ILSVRC2012_val_00015728.JPEG
    imgnet/imagenet-r/<synset>/<name>.jpg    for example imgnet/imagenet-r/n04086273/toy_3.jpg
  or is imgnet/ itself. Download the lists from https://github.com/google-research/composed_image_retrieval (folder
  data/imgnet), ImageNet-R from https://github.com/hendrycks/imagenet-r, and the validation images of ILSVRC2012 from
  https://image-net.org; they are in a folder for each class."""

  IMAGE_SPLITS = ("test",)
  QUERY_SPLITS = ("test",)
  TEXT_QUERIES = ("modification",)
  ALL_ANSWERED = False  # of some classes a domain has no image; the published recalls count these queries as 0
  OPTIONS: ClassVar = {"categories": several(one_of(DOMAINS), distinct=True)}
  PROTOCOLS: ClassVar = {
    "imagenet_domains": Protocol(
      "imagenet_domains",
      recall_at=RECALL_AT,
      num_ranked=max(RECALL_AT),
      groups=gallery_without_references,
      excludes_reference=False,
      by_category=True,
      relevant_recall_at=RECALL_AT,
      headline=("mean/relevant/R@10", "mean/relevant/R@50"),
    )
  }

  @classmethod
  def check_raw_files(cls, folder: pathlib.Path, options: Mapping[str, Any]) -> None:
    """Raises InputError, with what was found instead, unless `folder` has both lists."""
    cls.check_expected(folder, {PREFIX + name: (root_of(folder) / name).is_file() for name in (QUERIES, TARGETS)})

  def read_images(self, split: str) -> Sequence[Image]:
    """The targets, then photographs that are none; raises InputError when one is not on the disk."""
    root = root_of(self.folder)
    targets, queries = (read_list(root / name) for name in (TARGETS, QUERIES))
    images = [Image(own.path, str(own.number), root / own.path, _domain(own)) for own in targets]
    listed = {own.path for own in targets}
    images += [
      Image(own.path, f"{REFERENCE} {own.number}", root / own.path, REFERENCE)
      for own in queries
      if own.path not in listed
    ]
    missing = [image.name for image in images if not (root / image.name).is_file()]
    if missing:
      raise InputError(f"{len(missing):,} images that the lists name are missing: {root / missing[0]}, ...")
    return images

  def read_queries(self, split: str) -> Sequence[Query]:
    """Every photograph with every domain; the modification is the domain's name."""
    root = root_of(self.folder)
    rows = {image.name: row for row, image in enumerate(self.read_images(split))}
    queries = read_list(root / QUERIES)
    for own in queries:
      if own.number >= NUM_CLASSES:
        raise InputError(f"{root / QUERIES}: {own.path} has class {own.number}, expected less than {NUM_CLASSES}")
    return [
      Query(
        rows[own.path],
        domain,
        "",
        str(NUM_CLASSES * DOMAINS.index(domain) + own.number),
        group=domain,
        fields=(("domain", domain),),
      )
      for domain in self.options["categories"]
      for own in queries
    ]


class Listed(NamedTuple):
  """A line: a path below the lists' folder, and a number."""

  path: str
  number: int


def root_of(folder: pathlib.Path) -> pathlib.Path:
  """The lists' folder: Pic2Word's layout gives them a folder."""
  return folder / PREFIX if (folder / PREFIX).is_dir() else folder


def read_list(path: pathlib.Path) -> list[Listed]:
  """The lines "path number" of a list; raises InputError for others."""
  found = []
  for number, line in numbered_lines(path):
    name, _, label = line.strip().rpartition(" ")
    where = f"{path}:{number}"
    if not name or not (label.isascii() and label.isdigit()) or len(label) > 9:
      raise InputError(f"{where}: expected a path and a number, found {excerpt(line)}")
    name = name.strip().removeprefix(PREFIX)
    check_inside(name, where)
    found.append(Listed(name, int(label)))
  return found


def _domain(target: Listed) -> str:
  """The name of a target's domain; "" for photographs."""
  number = target.number // NUM_CLASSES
  return DOMAINS[number] if number < len(DOMAINS) else ""
