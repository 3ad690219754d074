"""Pictures of objects in states, laid out as MIT-States: an object is a pattern, a state a colour."""

import pathlib

import numpy as np
from PIL import Image

STATES = {"dark": (70, 40, 20), "pale": (240, 210, 180), "red": (220, 30, 30), "blue": (40, 60, 220)}
OBJECTS = ("box", "cat", "hat", "mug", "camera", "horse", "sky", "table")  # the last four are test nouns
PIXELS, CELLS = 32, 4


def make(folder: pathlib.Path, num_images: int = 3) -> pathlib.Path:
  """`folder`/images/STATE OBJECT/NUMBER.jpg, with noise."""
  rng = np.random.default_rng(0)
  for name in OBJECTS:
    pattern = np.kron(rng.permutation(CELLS * CELLS).reshape(CELLS, CELLS) % 2, np.ones((PIXELS // CELLS,) * 2))
    for state, colour in STATES.items():
      directory = folder / "images" / f"{state} {name}"
      directory.mkdir(parents=True)
      for number in range(num_images):
        pixels = np.where(pattern[..., None], np.array(colour), 128) + rng.normal(0, 12, (PIXELS, PIXELS, 3))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(directory / f"{number}.jpg", quality=95)
  return folder
