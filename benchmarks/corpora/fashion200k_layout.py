"""Captioned pictures in the layout of Fashion200k."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
import dataclasses
import pathlib
from typing import TypeVar

import numpy as np

from data_pipelines.texts.labels import families

SCORE = "0.9"  # of the detection that Fashion200k's label files have; nothing reads it


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture's number, which is its name, its caption, whose first word is its category, and its JPEG."""

  number: int
  caption: str
  jpeg: bytes

  @property
  def path(self) -> str:
    """The picture's path in the corpus."""
    category, name = self.caption.split()[0], self.caption.replace(" ", "_")
    return f"women/{category}/{name}/{self.number}/{self.number}_0.jpeg"


def write_corpus(
  folder: pathlib.Path, pictures: Sequence[Picture], test_icons: Collection[str], queries: Iterable[tuple[int, int]]
) -> None:
  """Writes label files, pictures and `queries`, pairs of the numbers of reference and target.

  `test_icons` are the captions, without their last word, of the test side.
  """
  lines: dict[str, list[str]] = {}
  for picture in pictures:
    split = "test" if icon(picture.caption) in test_icons else "train"
    file = f"{picture.caption.split()[0]}_{split}_detect_all.txt"
    lines.setdefault(file, []).append(f"{picture.path}\t{SCORE}\t{picture.caption}\n")
    path = folder / picture.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture.jpeg)
  (folder / "labels").mkdir()
  for file, own in lines.items():
    (folder / "labels" / file).write_text("".join(sorted(own)), encoding="utf-8")
  paths = {picture.number: picture.path for picture in pictures}
  text = "".join(f"{paths[reference]} {paths[target]}\n" for reference, target in queries)
  (folder / "test_queries.txt").write_text(text, encoding="utf-8")


def icon(caption: str) -> str:
  """The object in a picture: its caption without the last word, the style, unless that is all."""
  return caption.rpartition(" ")[0] or caption


def one_word_apart(captions: Collection[str]) -> dict[str, list[str]]:
  """The captions that have a parent in common with each of `captions`, sorted."""
  siblings: dict[str, set[str]] = {caption: set() for caption in captions}
  for children in families(siblings).values():
    for caption in children:
      siblings[caption] |= set(children) - {caption}
  return {caption: sorted(own) for caption, own in siblings.items()}


def one_style_apart(captions: Collection[str]) -> dict[str, list[str]]:
  """The captions that differ from each of `captions` in their last word alone, sorted: the text alone tells them."""
  styles = defaultdict[str, set[str]](set)
  for caption in captions:
    styles[icon(caption)].add(caption)
  return {caption: sorted(styles[icon(caption)] - {caption}) for caption in captions}


Name = TypeVar("Name", int, str)


def one_query_each(
  captions: Mapping[Name, str], siblings: Mapping[str, Sequence[str]], rng: np.random.Generator
) -> list[tuple[Name, Name]]:
  """From each picture whose caption has siblings to the last picture of one of them, drawn uniformly."""
  last = {caption: name for name, caption in captions.items()}
  return [(name, last[rng.choice(siblings[caption])]) for name, caption in captions.items() if siblings[caption]]
