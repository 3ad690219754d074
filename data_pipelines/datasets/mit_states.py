"""MIT-States from its folder of images: objects (nouns) in states (adjectives)."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
import pathlib
import sys
from typing import Any, ClassVar

from data_pipelines.datasets.annotations import excerpt
from data_pipelines.datasets.builder import Image, Query, TableBuilder
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
class MitStates(TableBuilder, skip_registration=True):
  """Isola, Lim and Adelson, "Discovering States and Transformations in Image Collections", CVPR 2015.

  Labels are "adjective noun". The split by nouns and the test queries are those of TIRG (Vo et al., CVPR 2019).
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
    labelled_folders(folder)

  def read_images(self, split: str) -> Sequence[Image]:
    """The images of a split, sorted by folder and file name; raises InputError when there are none.

    Other files in the folders and folders of other names are left out, as the published loader leaves them; the
    terminal says which.
    """
    root = pathlib.Path(self.raw_folder)
    images = [
      Image(str(path.relative_to(root)), folder.name, path)
      for folder in labelled_folders(root)
      if (split_label(folder.name)[1] in TEST_NOUNS) == (split == "test")
      for path in sorted(folder.glob("*.jpg"))
    ]
    if split == "test":
      _say_what_is_left_out(root)
    if not images:
      raise InputError(f"{root / 'images'} has no {split} images (*.jpg in folders named 'adjective noun')")
    return images

  def read_queries(self, split: str) -> Sequence[Query]:
    """Every image with every other adjective of its noun."""
    return list(_queries(self.read_images(split)))

  @classmethod
  def sampler(cls, images: ImageTable, queries: QueryTable | None, text_query: str) -> TripletSampler:
    """From any image to its noun in two other states."""
    return AdjectiveSampler(images.labels, complete_text=text_query == "complete")


def labelled_folders(root: pathlib.Path) -> list[pathlib.Path]:
  """The folders of `root`/images that are named "adjective noun", sorted; "adj noun" (no adjective) is left out.

  Raises InputError when a name has more than two words.
  """
  folders = sorted(path for path in (root / "images").iterdir() if path.is_dir() and " " in path.name)
  for folder in folders:
    if folder.name.count(" ") != 1:
      raise InputError(f"{folder}: the folder's name has more than the two words 'adjective noun'")
    if len(folder.name.split()) != 2:
      raise InputError(f"{folder}: the folder's name is not the two words 'adjective noun'")
  return [folder for folder in folders if split_label(folder.name)[0] != "adj"]


def left_out(root: pathlib.Path) -> list[str]:
  """What is in `root`/images and is used as nothing: folders without an adjective, files that are no *.jpg; sorted."""
  folders = labelled_folders(root)
  others = set((root / "images").iterdir()) - set(folders)
  others |= {path for folder in folders for path in folder.iterdir()} - {
    path for folder in folders for path in folder.glob("*.jpg")
  }
  return sorted(str(path.relative_to(root)) for path in others if not path.name.startswith("."))


def _say_what_is_left_out(root: pathlib.Path) -> None:
  others = left_out(root)
  if others:
    print(
      f"{root}: {len(others):,} entries are no *.jpg in a folder 'adjective noun' and are left out, for example "
      f"{excerpt(others[0])}",
      file=sys.stderr,
    )


def _queries(images: Sequence[Image]) -> Iterator[Query]:
  adjectives = defaultdict(set)
  for image in images:
    adjective, noun = split_label(image.label)
    adjectives[noun].add(adjective)
  for row, image in enumerate(images):
    own, noun = split_label(image.label)
    for adjective in sorted(adjectives[noun] - {own}):
      yield Query(row, adjective, f"{adjective} {noun}", f"{adjective} {noun}")
