"""Noise on features, in training alone."""

from flax import nnx
import jax
from jaxtyping import Array, Float

from composeret_jax.models.layers.dropout import RowKeys


class FeatureNoise(nnx.Module):
  """Adds u n to each feature in training mode: u is uniform in [0, 1), one number a row, and n standard normal."""

  def __init__(self):
    self.deterministic = False  # set by nnx.Module.train() and eval()

  def __call__(self, features: Float[Array, "batch dim"], *, rngs: RowKeys | None) -> Float[Array, "batch dim"]:
    """Raises ValueError without `rngs` in training mode."""
    if self.deterministic:
      return features
    if rngs is None:
      raise ValueError("noise in training mode draws random numbers: rngs is None, expected RowKeys")
    scale = jax.vmap(jax.random.uniform)(rngs.draw())
    normal = jax.vmap(lambda key: jax.random.normal(key, features.shape[1:]))(rngs.draw())
    return features + scale[:, None] * normal
