"""Made-up photographs, for benchmarks that ask how long real ones take to decode."""

import io

import numpy as np
from PIL import Image

from data_pipelines.tables import ImageTable


def photograph(seed: int, width: int, height: int) -> bytes:
  """A JPEG of quality 90 with detail at every scale, about as many bytes as a photograph of its size."""
  rng = np.random.default_rng(seed)
  pixels = np.full((height, width, 3), 120.0)
  for cell in (4, 16, 64, 256):
    coarse = rng.normal(0, 10 + cell / 6, (height // cell + 2, width // cell + 2, 3))
    layer = Image.fromarray(np.clip(coarse + 128, 0, 255).astype(np.uint8)).resize((width, height), Image.BICUBIC)
    pixels += np.asarray(layer) - 128.0
  pixels += rng.normal(0, 4, pixels.shape)
  buffer = io.BytesIO()
  Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
  return buffer.getvalue()


def photograph_table(num_images: int, width: int, height: int, num_distinct: int = 64) -> ImageTable:
  """An image table of `num_distinct` photographs, over and over: in turn, so that none stays in a cache."""
  distinct = [photograph(seed, width, height) for seed in range(min(num_images, num_distinct))]
  names = [f"{i}.jpg" for i in range(num_images)]
  labels = [f"label {i % 100}" for i in range(num_images)]
  return ImageTable(names, labels, [distinct[i % len(distinct)] for i in range(num_images)], [""] * num_images)
