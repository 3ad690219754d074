"""Reranking: what the text decoder reads from an image has a say in the order of the first images."""

from jaxtyping import Float, Int
import numpy as np

from composeret_jax.retrieval import NO_ROW

BLOCK = 256  # queries whose candidates' vectors exist at a time


def rerank(
  ranks: Int[np.ndarray, "num_queries ranked"],
  scores: Float[np.ndarray, "num_queries k"],
  similarities: Float[np.ndarray, "num_queries k"],
  weight: float,
) -> Int[np.ndarray, "num_queries ranked"]:
  """The first k of each query's ranks by score + weight * similarity, best first; the others keep their places.

  Ties keep their order, and NO_ROW stays last.
  """
  k = scores.shape[1]
  first, rest = ranks[:, :k], ranks[:, k:]
  sums = np.where(first == NO_ROW, -np.inf, scores + weight * similarities)
  order = np.argsort(-sums, axis=1, kind="stable")
  return np.concatenate([np.take_along_axis(first, order, axis=1), rest], axis=1)


def cosines(
  queries: Float[np.ndarray, "num_queries dim"],
  gallery: Float[np.ndarray, "num_gallery dim"],
  rows: Int[np.ndarray, "num_queries k"],
) -> Float[np.ndarray, "num_queries k"]:
  """Of each query with its own rows of the gallery; 0 for vectors of length 0."""
  queries, gallery = _unit(queries), _unit(gallery)
  starts = range(0, len(queries), BLOCK)
  blocks = (slice(start, start + BLOCK) for start in starts)
  return np.concatenate([np.einsum("qd,qkd->qk", queries[block], gallery[rows[block]]) for block in blocks])


def _unit(vectors: Float[np.ndarray, "num dim"]) -> Float[np.ndarray, "num dim"]:
  lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
  return vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
