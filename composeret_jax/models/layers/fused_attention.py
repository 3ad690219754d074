"""Self-attention by cuDNN, which holds no scores of all pairs in memory."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def cudnn_attends(query: Float[Array, "batch length heads dim"]) -> bool:
  """Whether cuDNN's attention takes such queries on the devices at hand: NVIDIA's since Ampere, in 16 bits.

  It takes none with a size that an export leaves open: exported programs run on other platforms, too.
  """
  if not all(isinstance(size, int) for size in query.shape):
    return False
  device = jax.devices()[0]
  if "cuda" not in device.client.platform_version or float(device.compute_capability) < 8:
    return False
  return query.dtype.itemsize == 2 and query.shape[-1] <= 128 and query.shape[-1] % 8 == 0


def fused_attention(
  query: Float[Array, "batch length heads dim"],
  key: Float[Array, "batch length heads dim"],
  value: Float[Array, "batch length heads dim"],
  *,
  causal: bool,
  implementation: Literal["cudnn", "xla"] = "cudnn",
) -> Float[Array, "batch length heads dim"]:
  """All positions attend to all or, with `causal`, to themselves and those before them."""
  batch, length = query.shape[:2]
  seen_lengths = None
  if length % 2:  # JAX refuses odd lengths of cuDNN's in training
    query, key, value = (jnp.pad(rows, ((0, 0), (0, 1), (0, 0), (0, 0))) for rows in (query, key, value))
    seen_lengths = None if causal else jnp.full(batch, length, jnp.int32)  # the causal mask hides the last anyway
  attended = jax.nn.dot_product_attention(
    query, key, value, is_causal=causal, key_value_seq_lengths=seen_lengths, implementation=implementation
  )
  return attended[:, :length]
