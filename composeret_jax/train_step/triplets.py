"""Triplets of a batch's composed features and targets, drawn anew in each step."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

NEGATIVES_PER_ANCHOR = 3


MIN_BATCH_SIZE = 2  # a smaller batch has no negatives


def sample_triplets(key: PRNGKeyArray, batch_size: int) -> Int[Array, "num 3"]:
  """Triplets in which every row of [composed; targets] is the anchor once with each of its negatives.

  Row i has row (i + batch) mod 2 batch as its positive; its negatives are three distinct rows of the others, uniformly
  drawn (fewer when a batch of two has no three others). Raises ValueError for a batch of one.
  """
  if batch_size < MIN_BATCH_SIZE:
    raise ValueError(f"triplets need negatives: batch size {batch_size}, at least {MIN_BATCH_SIZE} expected")
  num_rows = 2 * batch_size
  num_others = num_rows - 2
  anchors = jnp.arange(num_rows)
  positives = (anchors + batch_size) % num_rows
  choices = _distinct_integers(key, num_rows, num_others, min(NEGATIVES_PER_ANCHOR, num_others))
  # Counting only the others, skip the anchor's and the positive's places.
  negatives = choices + (choices >= jnp.minimum(anchors, positives)[:, None])
  negatives = negatives + (negatives >= jnp.maximum(anchors, positives)[:, None])
  columns = jnp.broadcast_arrays(anchors[:, None], positives[:, None], negatives)
  return jnp.stack(columns, axis=-1).reshape(-1, 3)  # [num_rows, negatives, 3] -> [num, 3]


def _distinct_integers(key: PRNGKeyArray, num_rows: int, bound: int, count: int) -> Int[Array, "num_rows count"]:
  """In each row `count` distinct integers below `bound`, uniformly drawn, without sorting `bound` numbers."""
  chosen = jnp.zeros((num_rows, 0), jnp.int32)
  for i, subkey in enumerate(jax.random.split(key, count)):
    # The i-th draw counts only what is left; walking up the sorted earlier draws skips what is gone.
    draw = jax.random.randint(subkey, (num_rows, 1), 0, bound - i)
    for earlier in jnp.split(jnp.sort(chosen, axis=1), i, axis=1) if i else ():
      draw = draw + (draw >= earlier)
    chosen = jnp.concatenate([chosen, draw], axis=1)
  return chosen
