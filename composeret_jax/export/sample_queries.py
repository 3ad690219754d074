"""Queries that the programs of a bundle are checked on."""

import numpy as np

from composeret_jax.training.run import Data
from data_pipelines.dataset import resizing
from data_pipelines.pixels.source import DecodedPixels
from data_pipelines.texts.readers import TokenReader

NUM_SAMPLES = 8


def sample_queries(data: Data, reader: TokenReader) -> tuple[np.ndarray, np.ndarray]:
  """The references' pixels and the tokens of the first NUM_SAMPLES of the evaluation's queries.

  Of a gallery without queries these are its first images, each with the empty text. The pixels, uint8 [num, size,
  size, 3], are decoded, as a run with a frozen encoder has features instead; where there are captions alone, they are
  random. The tokens are int32 [num, length].
  """
  dataset, size = data.dataset, data.config.data.image_size
  references = np.asarray(dataset.queries.references[:NUM_SAMPLES])
  texts = dataset.queries.texts[:NUM_SAMPLES]
  if not texts:
    references = np.arange(min(NUM_SAMPLES, len(dataset.gallery)))
    texts = [""] * len(references)
  if dataset.images_are_texts:
    pixels = np.random.default_rng(0).integers(0, 256, (len(references), size, size, 3), dtype=np.uint8)
  else:
    pixels = DecodedPixels(dataset.gallery, size, resizing(data.config.data))[references]
  return pixels, reader.tokens.encode(texts)
