"""CSS3D from its pickled description and its folder of rendered images."""

from collections.abc import Mapping, Sequence
import operator
import pathlib
import pickle
from typing import Any, ClassVar, NamedTuple

import numpy as np

from data_pipelines.datasets.annotations import check_text, excerpt
from data_pipelines.datasets.builder import TableBuilder
from data_pipelines.datasets.tables.rows import Image, Query
from data_pipelines.input_error import InputError
from data_pipelines.protocol import Protocol
from data_pipelines.samplers import ModificationSampler
from data_pipelines.tables import ImageTable, QueryTable, TripletSampler

DESCRIPTION = "css_toy_dataset_novel2_small.dup.npy"


# Everything that the description may name; Python 2 and NumPy 1 had other names for the same.
ADMITTED = frozenset(
  [(module, name) for module in ("builtins", "__builtin__") for name in ("set", "frozenset")]
  + [(f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")]
  + [("numpy", "ndarray"), ("numpy", "dtype"), ("collections", "OrderedDict")]
)


class Css3d(TableBuilder):
  """Vo et al., "Composing Text and Image for Image Retrieval - an Empirical Odyssey", CVPR 2019: rendered scenes.

  Test labels say which images show the same. A training target is one image: training labels are row numbers. Queries
  of a modification stand in a group.
  """

  MANUAL_DOWNLOAD_INSTRUCTIONS = f"""CSS3D expects a folder that holds
    {DESCRIPTION}
    images/css_<split>_<number>.png      for example images/css_train_000000.png
  Download it from https://drive.google.com/file/d/1wPqMw-HKmXUG2qTgYBiTNUnjz83hA2tY/view and unpack it."""

  TEXT_QUERIES = ("modification",)
  PROTOCOLS: ClassVar = {"css3d": Protocol()}

  @classmethod
  def check_raw_files(cls, folder: pathlib.Path, options: Mapping[str, Any]) -> None:
    """Raises InputError, with what was found instead, unless `folder` has the description and the images' folder."""
    expected = {DESCRIPTION: (folder / DESCRIPTION).is_file(), "folder images/": (folder / "images").is_dir()}
    cls.check_expected(folder, expected)

  def read_images(self, split: str) -> Sequence[Image]:
    """The images of a split, by number; raises InputError when one is missing."""
    description, root = self._describe(split), self.folder
    names = [f"images/css_{split}_{number:06d}.png" for number in range(len(description.labels))]
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
      raise InputError(f"{len(missing):,} images that {DESCRIPTION} describes are missing: {root / missing[0]}, ...")
    return [Image(name, label, root / name) for name, label in zip(names, description.labels, strict=True)]

  def read_queries(self, split: str) -> Sequence[Query]:
    """Every (from, to) pair of every modification."""
    description = self._describe(split)
    return [
      Query(reference, modification.text, "", description.labels[target], group=str(number))
      for number, modification in enumerate(description.modifications)
      for reference, target in zip(modification.references, modification.targets, strict=True)
    ]

  @classmethod
  def sampler(cls, images: ImageTable, queries: QueryTable, text_query: str) -> TripletSampler:
    """Every modification once an epoch, whatever the number of its image pairs."""
    return ModificationSampler(queries, images.labels)

  def _describe(self, split: str) -> "SplitDescription":
    path = self.folder / DESCRIPTION
    try:
      return checked_description(read_description(path)[split], split)
    except OSError as error:
      raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # whatever a damaged pickle makes its reader run into
      raise InputError(f"{path} cannot be read as CSS3D's description: {excerpt(str(error))[1:-1]}") from error


class Modification(NamedTuple):
  """One text, and the image pairs that it leads from and to, as numbers in their split."""

  text: str
  references: Sequence[int]
  targets: Sequence[int]


class SplitDescription(NamedTuple):
  """A split's part of the description."""

  labels: Sequence[str]
  modifications: Sequence[Modification]


def checked_description(content: Mapping[str, Any], split: str) -> SplitDescription:
  """The split with its numbers and texts checked; raises ValueError for what cannot be."""
  num_images = len(content["objects_img"])
  labels = content["labels"] if split == "test" and "labels" in content else range(num_images)
  if len(labels) != num_images:
    raise ValueError(f"{split} has {num_images:,} images, but {len(labels):,} labels")
  modifications = [_modification(own, i, num_images) for i, own in enumerate(content["mods"])]
  return SplitDescription([str(label) for label in labels], modifications)


def _modification(content: Mapping[str, Any], number: int, num_images: int) -> Modification:
  where, text = f"modification {number}", content["to_str"]
  if not isinstance(text, str):
    raise ValueError(f"{where}: to_str is {excerpt(text)}, expected a text")
  check_text(text, where)
  references, targets = ([operator.index(image) for image in content[end]] for end in ("from", "to"))
  if len(references) != len(targets):
    raise ValueError(f"{where} leads from {len(references):,} images to {len(targets):,}")
  unknown = [image for image in (*references, *targets) if not 0 <= image < num_images]
  if unknown:
    raise ValueError(f"{where} names image {unknown[0]}, of {num_images:,}")
  return Modification(text, references, targets)


def read_description(path: pathlib.Path) -> Mapping[str, Any]:
  """The dictionary that `path` holds: containers, strings, numbers and NumPy arrays only, whatever was pickled.

  Raises pickle.UnpicklingError for anything else, without running it, and ValueError for a file that is no such array.
  """
  with path.open("rb") as file:
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if shape or not dtype.hasobject:
      raise ValueError(f"expected one pickled dictionary, found an array {shape} of {dtype}")
    return np.ndarray.item(_PlainUnpickler(file, encoding="latin1").load())


class _PlainUnpickler(pickle.Unpickler):
  """Finds nothing but what is ADMITTED, so that a file cannot name a function to be called."""

  def find_class(self, module: str, name: str) -> Any:
    if (module, name) not in ADMITTED:
      raise pickle.UnpicklingError(f"it holds {module}.{name}, expected plain containers, strings, numbers and arrays")
    return super().find_class(module, name)
