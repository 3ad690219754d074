"""The embedded data set: scenes of coloured shapes on a 3x3 grid, and sentences that change them.

In the manner of the CSS data of TIRG (Vo et al., CVPR 2019), but drawn here, so that everything can be tried without a
download. Labels describe scenes completely; training and test scenes are disjoint.
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import functools
import io
import itertools
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw

from data_pipelines.datasets.builder import TableBuilder
from data_pipelines.datasets.tables.rows import Image, Query

SEED = 2019
COLOURS = {
  "red": (214, 54, 48),
  "green": (58, 160, 78),
  "blue": (52, 96, 200),
  "yellow": (236, 196, 56),
  "purple": (142, 72, 172),
  "cyan": (70, 190, 204),
}


SHAPES = ("circle", "square", "triangle")
SIZES = ("small", "large")
CELLS = tuple(f"{y} {x}" for y, x in itertools.product(("top", "middle", "bottom"), ("left", "center", "right")))
NUM_SCENES = {"train": 1200, "test": 150}
QUERIES_PER_SCENE = 4
OBJECTS_IN_A_SCENE = (2, 5)  # fewest and most, both included
BETWEEN_THINGS = "; "  # in a label
PIXELS = 64
OVERSAMPLING = 4  # drawn this much larger, then averaged: anti-aliasing


@dataclasses.dataclass(frozen=True, order=True)
class Thing:
  """One object of a scene; a scene holds each colour and shape at most once, so that a text names one object."""

  cell: int
  size: str
  colour: str
  shape: str

  @property
  def kind(self) -> str:
    """Its name in texts."""
    return f"{self.colour} {self.shape}"


Scene = tuple[Thing, ...]  # sorted by cell


class Shapes(TableBuilder):
  """Scenes of coloured shapes on a 3x3 grid, and sentences that change them; drawn here, deterministic from a seed."""

  @classmethod
  def label_separator(cls, options: Mapping[str, Any]) -> str:
    """Between objects."""
    return BETWEEN_THINGS

  def read_images(self, split: str) -> Sequence[Image]:
    """One image for each distinct scene of a split: the scenes that queries start from and lead to."""
    scenes = all_scenes()[split]
    return [
      Image(f"{split}/{i:05d}.png", label(scene), functools.partial(draw, scene)) for i, scene in enumerate(scenes)
    ]

  def read_queries(self, split: str) -> Sequence[Query]:
    """Four modifications of every starting scene."""
    rows = {scene: row for row, scene in enumerate(all_scenes()[split])}
    return [Query(rows[start], text, text, label(target)) for start, text, target in all_changes()[split]]


def label(scene: Scene) -> str:
  """A scene in words."""
  return BETWEEN_THINGS.join(f"{thing.size} {thing.kind} {CELLS[thing.cell]}" for thing in scene) or "empty"


@functools.cache
def all_scenes() -> dict[str, list[Scene]]:
  """The distinct scenes of each split, in order of first appearance."""
  return {
    split: list(dict.fromkeys(scene for start, _, target in changes for scene in (start, target)))
    for split, changes in all_changes().items()
  }


@functools.cache
def all_changes() -> dict[str, list[tuple[Scene, str, Scene]]]:
  """For each split the triples (scene, text, changed scene). No scene of one split appears in the other."""
  rng = np.random.default_rng(SEED)
  changes = {}
  taken: set[Scene] = set()
  for split in ("test", "train"):
    changes[split] = list(_changes_of_split(rng, NUM_SCENES[split], taken))
    taken = {scene for start, _, target in changes[split] for scene in (start, target)}
  return changes


def _changes_of_split(
  rng: np.random.Generator, num_scenes: int, taken: set[Scene]
) -> Iterator[tuple[Scene, str, Scene]]:
  starts: set[Scene] = set()
  while len(starts) < num_scenes:
    scene = random_scene(rng)
    options = [(text, target) for text, target in sorted(possible_changes(scene).items()) if target not in taken]
    if scene in taken or scene in starts or len(options) < QUERIES_PER_SCENE:
      continue
    starts.add(scene)
    # Adding, removing and resizing have equal shares although there are many more ways to add.
    verbs = [text.split()[0] for text, _ in options]
    weights = np.array([1 / verbs.count(verb) for verb in verbs])
    for i in rng.choice(len(options), QUERIES_PER_SCENE, replace=False, p=weights / weights.sum()):
      yield scene, *options[i]


def random_scene(rng: np.random.Generator) -> Scene:
  """A scene of two to five objects."""
  fewest, most = OBJECTS_IN_A_SCENE
  count = int(rng.integers(fewest, most + 1))
  cells = rng.choice(len(CELLS), count, replace=False)
  kinds = rng.choice(len(COLOURS) * len(SHAPES), count, replace=False)
  colours = tuple(COLOURS)
  things = [
    Thing(int(cell), str(rng.choice(SIZES)), colours[kind % len(COLOURS)], SHAPES[kind // len(COLOURS)])
    for cell, kind in zip(cells, kinds, strict=True)
  ]
  return tuple(sorted(things))


def possible_changes(scene: Scene) -> dict[str, Scene]:
  """Every text that makes sense for a scene, with the scene that it leads to."""
  free_cells = set(range(len(CELLS))) - {thing.cell for thing in scene}
  kinds = {thing.kind for thing in scene}
  things = itertools.starmap(Thing, itertools.product(free_cells, SIZES, COLOURS, SHAPES))
  changes = {
    f"add {thing.size} {thing.kind} to {CELLS[thing.cell]}": tuple(sorted((*scene, thing)))
    for thing in things
    if thing.kind not in kinds
  }
  for thing in scene:
    changes[f"remove {thing.kind}"] = tuple(other for other in scene if other != thing)
  for thing in scene:
    size = SIZES[1 - SIZES.index(thing.size)]
    resized = dataclasses.replace(thing, size=size)
    changes[f"make {thing.kind} {size}"] = tuple(resized if other == thing else other for other in scene)
  return changes


def draw(scene: Scene) -> bytes:
  """The scene as a PNG of 64x64 pixels."""
  side = PIXELS * OVERSAMPLING
  canvas = PillowImage.new("RGB", (side, side), (238, 238, 234))
  pen = ImageDraw.Draw(canvas)
  for thing in scene:
    _draw_thing(pen, thing, side / 3)
  buffer = io.BytesIO()
  canvas.resize((PIXELS, PIXELS), PillowImage.Resampling.BOX).save(buffer, "PNG")
  return buffer.getvalue()


def _draw_thing(pen: ImageDraw.ImageDraw, thing: Thing, cell_side: float) -> None:
  row, column = divmod(thing.cell, 3)
  x, y = (column + 0.5) * cell_side, (row + 0.5) * cell_side
  radius = cell_side * (0.42 if thing.size == "large" else 0.24)
  colour = COLOURS[thing.colour]
  box = (x - radius, y - radius, x + radius, y + radius)
  if thing.shape == "circle":
    pen.ellipse(box, fill=colour)
  elif thing.shape == "square":
    pen.rectangle(box, fill=colour)
  else:
    pen.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill=colour)
