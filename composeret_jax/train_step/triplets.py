"""Triplets of a batch's composed features and targets, drawn anew in each step."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PRNGKeyArray

NEGATIVES_PER_ANCHOR = 3
MIN_BATCH_SIZE = 2  # a smaller batch has no negatives


def sample_triplets(key: PRNGKeyArray, batch_size: int, rows: Int[Array, " own"] | None = None) -> Int[Array, "num 3"]:
  """Triplets in which every row of [composed; targets] is the anchor once with each of its negatives.

  Row i has row (i + batch) mod 2 batch as its positive; its negatives are three distinct rows of the others, uniformly
  drawn (fewer when a batch of two has no three others). With `rows` of the batch, the anchors are these rows' alone:
  the draw of a row depends on `key` and the row number only, on any device. Raises ValueError for a batch of one.
  """
  if batch_size < MIN_BATCH_SIZE:
    raise ValueError(f"triplets need negatives: batch size {batch_size}, at least {MIN_BATCH_SIZE} expected")
  rows = jnp.arange(batch_size) if rows is None else rows
  num_others = 2 * batch_size - 2
  anchors = jnp.concatenate([rows, rows + batch_size])
  positives = jnp.concatenate([rows + batch_size, rows])
  keys = jax.vmap(jax.random.fold_in, (None, 0))(key, anchors)
  choices = _distinct_integers(keys, num_others, min(NEGATIVES_PER_ANCHOR, num_others))
  # Counting only the others, skip the anchor's and the positive's places.
  negatives = choices + (choices >= jnp.minimum(anchors, positives)[:, None])
  negatives = negatives + (negatives >= jnp.maximum(anchors, positives)[:, None])
  columns = jnp.broadcast_arrays(anchors[:, None], positives[:, None], negatives)
  return jnp.stack(columns, axis=-1).reshape(-1, 3)  # [anchors, negatives, 3] -> [num, 3]


def _distinct_integers(keys: Key[Array, " num_rows"], bound: int, count: int) -> Int[Array, "num_rows count"]:
  """For each of the `keys` `count` distinct integers below `bound`, without sorting `bound` numbers."""
  # The i-th draw counts only what is left; walking up the sorted earlier draws skips what is gone.
  bounds = bound - jnp.arange(count)
  draws = jax.vmap(lambda key: jax.random.randint(key, (count,), 0, bounds))(keys)
  chosen = draws[:, :1]
  for i in range(1, count):
    draw = draws[:, i : i + 1]
    for earlier in jnp.split(jnp.sort(chosen, axis=1), i, axis=1):
      draw = draw + (draw >= earlier)
    chosen = jnp.concatenate([chosen, draw], axis=1)
  return chosen
