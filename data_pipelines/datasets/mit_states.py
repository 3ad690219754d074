"""MIT-States from its folder of images: objects (nouns) in states (adjectives)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
import pathlib
import sys
from typing import Any, ClassVar

from data_pipelines.datasets.annotations import excerpt
from data_pipelines.datasets.builder import TableBuilder
from data_pipelines.datasets.tables.rows import Image, Query
from data_pipelines.folders import list_files, normal_name
from data_pipelines.input_error import InputError
from data_pipelines.protocol import Protocol
from data_pipelines.samplers import AdjectiveSampler
from data_pipelines.tables import ImageTable, QueryTable, TripletSampler
from data_pipelines.texts.labels import split_label

# fmt: off
TEST_NOUNS = frozenset((
  "armor", "bracelet", "bush", "camera", "candy", "castle", "ceramic", "cheese", "clock", "clothes", "coffee", "fan",
  "fig", "fish", "foam", "forest", "fruit", "furniture", "garden", "gate", "glass", "horse", "island", "laptop", "lead",
  "lightning", "mirror", "orange", "paint", "persimmon", "plastic", "plate", "potato", "road", "rubber", "sand",
  "shell", "sky", "smoke", "steel", "stream", "table", "tea", "tomato", "vacuum", "wax", "wheel", "window", "wool",
))


# fmt: on
class MitStates(TableBuilder):
  """Isola, Lim and Adelson, "Discovering States and Transformations in Image Collections", CVPR 2015.

  Labels are "adjective noun". The split by nouns and the test queries follow TIRG (Vo et al., CVPR 2019).
  """

  MANUAL_DOWNLOAD_INSTRUCTIONS = """MIT-States expects a folder that holds
    images/<adjective noun>/*.jpg        for example images/ancient tower/1.jpg
  Download it from http://web.mit.edu/phillipi/Public/states_and_transformations/index.html and unpack it."""

  QUERY_SPLITS = ("test",)
  PROTOCOLS: ClassVar = {"mit_states": Protocol("mit_states", label_parts=("adjective", "noun"))}

  @classmethod
  def check_raw_files(cls, folder: pathlib.Path, options: Mapping[str, Any]) -> None:
    """Raises InputError, with what was found instead, unless `folder` has the folders that are expected."""
    cls.check_expected(folder, {"folder images/": (folder / "images").is_dir()})
    labelled_images(folder)

  def read_images(self, split: str) -> Sequence[Image]:
    """The images of a split, sorted by folder and file name; raises InputError when there are none.

    Other files in the folders and folders of other names are left out, as the published loader leaves them; the
    terminal says which.
    """
    root = self.folder
    paths, others = labelled_images(root)
    images = [
      Image(normal_name(str(path.relative_to(root))), label, path)
      for label in paths
      if (split_label(label)[1] in TEST_NOUNS) == (split == "test")
      for path in paths[label]
    ]
    if others and split == "test":
      print(
        f"{root / 'images'}: {len(others):,} entries are no *.jpg in a folder 'adjective noun' and are left out, for "
        f"example {excerpt(others[0])}",
        file=sys.stderr,
      )
    if not images:
      nouns = sorted({split_label(label)[1] for label in paths})
      num_others = sum(map(len, paths.values()))
      of_others = f" but {num_others:,} images of other nouns, {', '.join(nouns[:5])}" if nouns else ""
      raise InputError(
        f"{root / 'images'} has no {split} images (*.jpg in folders named 'adjective noun'){of_others}; the test "
        f"nouns are {', '.join(sorted(TEST_NOUNS))}"
      )
    return images

  def read_queries(self, split: str) -> Sequence[Query]:
    """Every image with every other adjective of its noun."""
    return self.queries_between(self.read_images(split))

  @classmethod
  def held_out_by(cls, label: str) -> str:
    """The noun: as the test split, validation is of nouns that training does not show."""
    return split_label(label)[1]

  @classmethod
  def queries_between(cls, images: Sequence[Image]) -> Sequence[Query]:
    """Every image with every other adjective of its noun."""
    queries = []
    adjectives = defaultdict[str, set[str]](set)
    for image in images:
      adjective, noun = split_label(image.label)
      adjectives[noun].add(adjective)
    for row, image in enumerate(images):
      own, noun = split_label(image.label)
      for adjective in sorted(adjectives[noun] - {own}):
        queries.append(Query(row, adjective, f"{adjective} {noun}", f"{adjective} {noun}"))
    return queries

  @classmethod
  def label_separator(cls, options: Mapping[str, Any]) -> str:
    """Between words."""
    return " "

  @classmethod
  def sampler(cls, images: ImageTable, queries: QueryTable, text_query: str) -> TripletSampler:
    """From any image to its noun in two other states."""
    return AdjectiveSampler(images.labels, complete_text=text_query == "complete")


def labelled_images(root: pathlib.Path) -> tuple[dict[str, list[pathlib.Path]], list[str]]:
  """The images in each folder of `root`/images that is named "adjective noun", and the names of everything else.

  Both are sorted; images are *.jpg in the folder itself. "adj noun" (no adjective) is left out. Raises InputError when
  a folder's name has more than two words.
  """
  listing = list_files(root / "images")
  images: dict[str, list[pathlib.Path]] = {}
  others = list(listing.left_out)
  for name in sorted(listing.files, key=lambda name: name.split("/")):
    label, _, file = name.partition("/")
    if file and _is_label(label, root / "images") and "/" not in file and file.endswith(".jpg"):
      images.setdefault(label, []).append(listing.files[name])
    else:
      others.append(name)
  return images, sorted(others)


def _is_label(name: str, where: pathlib.Path) -> bool:
  if " " not in name:
    return False
  if name.count(" ") != 1:
    raise InputError(f"{where / name}: the folder's name has more than the two words 'adjective noun'")
  if len(name.split()) != 2:
    raise InputError(f"{where / name}: the folder's name is not the two words 'adjective noun'")
  return split_label(name)[0] != "adj"
