import hashlib
import io
import re

import numpy as np
from PIL import Image
import pytest

from data_pipelines.datasets import shapes
from data_pipelines.datasets.shapes import Thing

SCENE = (Thing(0, "large", "red", "circle"), Thing(4, "small", "blue", "square"))


@pytest.mark.slow
def test_training_and_test_scenes_are_disjoint():
  scenes = shapes.all_scenes()
  assert not set(scenes["train"]) & set(scenes["test"])
  assert len(set(map(shapes.label, scenes["train"]))) == len(scenes["train"])


def test_every_scene_starts_the_same_number_of_queries():
  for split, changes in shapes.all_changes().items():
    assert len(changes) == shapes.NUM_SCENES[split] * shapes.QUERIES_PER_SCENE
    assert len({(start, text) for start, text, _ in changes}) == len(changes)
    verbs = [text.split()[0] for _, text, _ in changes]
    assert {"add", "remove", "make"} == set(verbs)


def test_texts_say_what_changes():
  for start, text, target in shapes.all_changes()["test"]:
    gone, new = set(start) - set(target), set(target) - set(start)
    if match := re.fullmatch(r"add (\w+) (\w+ \w+) to (\w+ \w+)", text):
      (thing,) = new
      assert not gone
      assert (thing.size, thing.kind, shapes.CELLS[thing.cell]) == match.groups()
    elif match := re.fullmatch(r"remove (\w+ \w+)", text):
      (thing,) = gone
      assert not new
      assert thing.kind == match[1]
    else:
      match = re.fullmatch(r"make (\w+ \w+) (\w+)", text)
      (before,), (after,) = gone, new
      assert (after.kind, after.size) == match.groups()
      assert (before.kind, before.cell) == (after.kind, after.cell)


def test_the_same_data_on_every_machine():
  queries = [f"{shapes.label(start)}\t{text}" for start, text, _ in shapes.all_changes()["test"]]
  digest = hashlib.sha256("\n".join(queries).encode()).hexdigest()
  assert digest == "2c0aea5297541cf0970bbd70a055bbecc42b8ea0b4af9cd2b9d01e0748d48459"


def test_things_are_drawn_where_and_as_large_as_they_are():
  with Image.open(io.BytesIO(shapes.draw(SCENE))) as image:
    pixels = np.asarray(image).astype(int)
  assert pixels.shape == (64, 64, 3)
  background = pixels[0, 63]
  assert np.abs(pixels[10, 10] - shapes.COLOURS["red"]).max() == 0
  assert np.abs(pixels[32, 32] - shapes.COLOURS["blue"]).max() == 0
  assert (pixels[54, 54] == background).all()
  red = (pixels == shapes.COLOURS["red"]).all(axis=-1).sum()
  blue = (pixels == shapes.COLOURS["blue"]).all(axis=-1).sum()
  assert 0.8 < red / (np.pi * (0.42 * 64 / 3) ** 2) < 1
  assert 0.8 < blue / (2 * 0.24 * 64 / 3) ** 2 < 1.1


def test_edges_are_anti_aliased():
  with Image.open(io.BytesIO(shapes.draw(SCENE[:1]))) as image:
    colours = {colour for _, colour in image.getcolors()}
  assert len(colours) > 2
