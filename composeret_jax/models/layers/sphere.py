"""Features scaled to the sphere of a radius, on which inner products compare them."""

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def to_sphere(features: Float[Array, "batch dim"], radius: float | nnx.Param = 1.0) -> Float[Array, "batch dim"]:
  """Features scaled to the length `radius`; a zero feature stays zero."""
  squared_norm = jnp.square(features).sum(axis=-1, keepdims=True)
  return radius * features * jax.lax.rsqrt(jnp.maximum(squared_norm, jnp.finfo(jnp.float32).tiny))
