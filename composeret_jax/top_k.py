"""The largest scores of each row, exactly, with less to sort than jax.lax.top_k."""

import math

import jax
import jax.numpy as jnp


def chunk_size(num_scores: int, k: int) -> int:
  """The power of two that makes `top_k` sort least: sqrt(num_scores / k), rounded down; 1 where k is that large."""
  return 2 ** max(0, int(math.log2(num_scores / max(k, 1)) / 2))


def top_k(scores: jax.Array, k: int, chunk: int) -> tuple[jax.Array, jax.Array]:
  """jax.lax.top_k of [num, num_scores]: only the `k` chunks of neighbours with the largest maxima are looked into.

  Exact, ties too: k chunks whose maxima come first hold k scores that come before any score elsewhere. `num_scores`
  is a multiple of `chunk`. Returns scores and places, both [num, k].
  """
  if k * chunk >= scores.shape[1]:
    top_scores, places = jax.lax.top_k(scores, k)
    return top_scores, places
  chunks = scores.reshape(len(scores), -1, chunk)
  _, found = jax.lax.top_k(chunks.max(axis=2), k)
  found = jnp.sort(found, axis=1)  # back in gallery order
  narrowed = jnp.take_along_axis(chunks, found[:, :, None], axis=1).reshape(len(scores), -1)
  top_scores, places = jax.lax.top_k(narrowed, k)
  return top_scores, jnp.take_along_axis(found, places // chunk, axis=1) * chunk + places % chunk
