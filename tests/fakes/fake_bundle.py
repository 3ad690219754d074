"""A bundle with small programs in NumPy: everything about an index in milliseconds."""

import pathlib
from unittest import mock

import numpy as np
from PIL import Image

from composeret_jax.serving.bundle import Bundle
from composeret_jax.serving.bundle.inputs import TokenBatches
from data_pipelines.texts.vocabulary import Vocabulary

DIM = 16
SIZE = 8
WORDS = ("red", "blue", "striped")


def fake_bundle(fingerprint: str = "a" * 64, composes_features: bool = True) -> Bundle:
  """Features are random projections of pixels; a text adds the vectors of its words to the raw feature.

  `encode_gallery` is a mock, so that a test can count its calls.
  """
  rng = np.random.default_rng(0)
  projection = rng.standard_normal((SIZE * SIZE * 3, DIM)).astype(np.float32)
  words = rng.standard_normal((len(WORDS) + 1, DIM)).astype(np.float32)

  def unit(raw):
    norms = np.linalg.norm(raw, axis=1)
    return raw / norms[:, None], norms

  def text(tokens):
    return (words[tokens] * (tokens >= 0)[..., None]).sum(axis=1)

  def raw_images(pixels):
    return (pixels.reshape(len(pixels), -1) / np.float32(255) - np.float32(0.5)) @ projection

  programs = {
    "encode_gallery": mock.Mock(side_effect=lambda weights, pixels: unit(raw_images(pixels))),
    "compose_query": lambda weights, pixels, tokens: unit(raw_images(pixels) + text(tokens)),
    "compose_texts": lambda weights, tokens: unit(text(tokens) + np.float32(0.1)),
  }
  if composes_features:
    programs["compose_features"] = lambda weights, features, norms, tokens: unit(
      features * norms[:, None] + text(tokens)
    )
  info = {"feature_dim": DIM, "image_size": SIZE, "resize": "crop", "interpolation": "bilinear", "mean_norm": 1.0}
  return Bundle(info, fingerprint, programs, {}, TokenBatches(Vocabulary(WORDS), 16))


def write_images(folder: pathlib.Path, num: int, seed: int = 0) -> None:
  """Random PNGs: half of them in the folder, half in a folder `box`."""
  rng = np.random.default_rng(seed)
  (folder / "box").mkdir(parents=True, exist_ok=True)
  for i in range(num):
    pixels = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / ("box" if i % 2 else ".") / f"{i:03d}.png")
