"""Position embeddings of images of one size, for images of another."""

from jaxtyping import Float
import numpy as np

# The cubic kernel's parameter as PyTorch has it, by which transformers resizes positions; jax.image has -0.5.
CUBIC = -0.75


def resized_positions(
  positions: Float[np.ndarray, "num dim"], num_patches: int, num_tokens: int
) -> Float[np.ndarray, "new_num dim"]:
  """Bicubically interpolated to a square of `num_patches`; the first `num_tokens` belong to no patch, and stay."""
  tokens, patches = positions[:num_tokens], positions[num_tokens:]
  if len(patches) == num_patches:
    return positions
  side, new_side = round(len(patches) ** 0.5), round(num_patches**0.5)
  along = cubic_weights(side, new_side)
  grid = patches.reshape(side, side, -1)
  resized = np.einsum("yi,xj,ijd->yxd", along, along, grid, optimize=True).astype(positions.dtype)
  return np.concatenate([tokens, resized.reshape(num_patches, -1)])


def cubic_weights(size: int, new_size: int) -> Float[np.ndarray, "new_size size"]:
  """What each new sample takes of each old one; the outermost old ones go on for ever."""
  centres = (np.arange(new_size) + 0.5) * size / new_size - 0.5
  first = np.floor(centres).astype(int)
  weights = np.zeros((new_size, size))
  for offset in (-1, 0, 1, 2):
    old = first + offset
    np.add.at(weights, (np.arange(new_size), np.clip(old, 0, size - 1)), _cubic(np.abs(centres - old)))
  return weights


def _cubic(distance: Float[np.ndarray, " num"]) -> Float[np.ndarray, " num"]:
  """Keys' convolution kernel ("Cubic Convolution Interpolation for Digital Image Processing", 1981)."""
  near = (CUBIC + 2) * distance**3 - (CUBIC + 3) * distance**2 + 1
  far = CUBIC * (distance**3 - 5 * distance**2 + 8 * distance - 4)
  return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
