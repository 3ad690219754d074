"""Made-up batches for the steps that benchmarks time: nothing in a step's time depends on what they hold."""

import numpy as np

DIM, VOCABULARY_SIZE, TEXT_LENGTH = 512, 1_000, 8


def pixels_and_tokens(batch_size: int, image_size: int) -> dict[str, np.ndarray]:
  """References and targets [batch, size, size, 3], uint8, and texts [batch, TEXT_LENGTH], int32."""
  rng = np.random.default_rng(0)
  shape = (batch_size, image_size, image_size, 3)
  images = {name: rng.integers(0, 256, shape, dtype=np.uint8) for name in ("reference", "target")}
  return images | {"text": rng.integers(0, VOCABULARY_SIZE, (batch_size, TEXT_LENGTH), dtype=np.int32)}


def features(batch_size: int, dim: int = DIM) -> dict[str, np.ndarray]:
  """References, targets and texts [batch, dim], float32, as frozen encoders would give them."""
  rng = np.random.default_rng(0)
  return {name: rng.normal(size=(batch_size, dim)).astype(np.float32) for name in ("reference", "target", "text")}
