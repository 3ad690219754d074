"""The losses of the published systems, each a pure function of arrays."""

from collections.abc import Callable
import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped
import optax

NEGATIVES_PER_ANCHOR = 3


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class HardNegatives:
  """Images that the targets of a batch are easily taken for, on the sphere, and what they and the targets show."""

  features: Float[Array, "batch num dim"]
  labels: Int[Array, "batch num"]
  target_labels: Int[Array, " batch"]

  def logits(self, queries: Float[Array, "rows dim"], rows: Int[Array, " rows"]) -> Float[Array, "rows batch_num"]:
    """Of all negatives for some of the batch's queries; -inf where one shows what the query's own target does."""
    is_right = self.labels.ravel() == self.target_labels[rows][:, None]
    return jnp.where(is_right, -jnp.inf, queries @ self.features.reshape(-1, queries.shape[1]).T)


def batch_classification_loss(
  composed: Float[Array, "batch dim"],
  targets: Float[Array, "batch dim"],
  block_rows: int = 0,
  negatives: HardNegatives | None = None,
) -> Float[Array, ""]:
  """Cross-entropy of picking each query's own target among the batch's targets.

  The batch-based classification loss of Vo et al., "Composing Text and Image for Image Retrieval", CVPR 2019.
  Expects features already on the sphere; the batch is the global one. `block_rows` above zero bounds how many rows of
  the [batch, batch] similarities exist at a time, in the backward pass too. `negatives` are picked from as well: their
  columns stand behind the targets'.
  """

  def cross_entropies(queries, labels):
    logits = queries @ targets.T
    if negatives is not None:
      logits = jnp.concatenate([logits, negatives.logits(queries, labels)], axis=1)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)

  labels = jnp.arange(len(composed))
  if not block_rows:
    return cross_entropies(composed, labels).mean()
  return _mean_in_blocks(cross_entropies, (composed, labels), block_rows)


def info_nce_loss(
  composed: Float[Array, "batch dim"], targets: Float[Array, "batch dim"], block_rows: int = 0
) -> Float[Array, ""]:
  """The mean of both directions: picking each query's target among the targets, and each target's query.

  Symmetric InfoNCE as CLIP trains with it; arguments are `batch_classification_loss`'s, which is one direction.
  """
  if block_rows:
    forth = batch_classification_loss(composed, targets, block_rows)
    return (forth + batch_classification_loss(targets, composed, block_rows)) / 2
  logits = composed @ targets.T  # one product for both directions
  normalizers = jax.nn.logsumexp(logits, axis=0) + jax.nn.logsumexp(logits, axis=1)
  return normalizers.mean() / 2 - jnp.trace(logits) / len(logits)


def sigmoid_loss(
  composed: Float[Array, "batch dim"],
  targets: Float[Array, "batch dim"],
  bias: Float[Array, ""],
  block_rows: int = 0,
) -> Float[Array, ""]:
  """Each of the batch x batch pairs is right or wrong by itself: -log sigmoid(+-(inner product + bias)).

  SigLIP's loss: summed over the targets, averaged over the queries; only the diagonal is right. Other arguments are as
  for `batch_classification_loss`.
  """

  def of_queries(queries, labels):
    logits = queries @ targets.T + bias
    is_right = labels[:, None] == jnp.arange(len(targets))
    return jax.nn.softplus(jnp.where(is_right, -logits, logits)).sum(axis=-1)

  labels = jnp.arange(len(composed))
  if not block_rows:
    return of_queries(composed, labels).mean()
  return _mean_in_blocks(of_queries, (composed, labels), block_rows)


def soft_triplet_loss(
  composed: Float[Array, "batch dim"],
  targets: Float[Array, "batch dim"],
  triplets: Int[Array, "num 3"],
  block_rows: int = 0,
) -> Float[Array, ""]:
  """Mean of log(1 + exp(d(anchor, positive) - d(anchor, negative))), d the squared Euclidean distance.

  The soft triplet loss of Vo et al., CVPR 2019. `triplets` are rows of [composed; targets]: anchor, positive, negative.
  Expects features already on the sphere. `block_rows` above zero bounds how many triplets' vectors exist at a time, in
  the backward pass too; without, the [2 batch, 2 batch] inner products exist.
  """
  vectors = jnp.concatenate([composed, targets])
  if block_rows:
    return _mean_in_blocks(lambda rows: _of_vectors(vectors, rows), (triplets,), block_rows)
  return _of_products(vectors, triplets).mean()


def _of_vectors(vectors: Float[Array, "rows dim"], triplets: Int[Array, "num 3"]) -> Float[Array, " num"]:
  """Each triplet's term from its three vectors."""
  anchor, positive, negative = (vectors[triplets[:, i]] for i in range(3))
  difference = jnp.square(anchor - positive).sum(axis=-1) - jnp.square(anchor - negative).sum(axis=-1)
  return jax.nn.softplus(difference)


def _of_products(vectors: Float[Array, "rows dim"], triplets: Int[Array, "num 3"]) -> Float[Array, " num"]:
  """The same from all inner products: |a - p|^2 - |a - n|^2 = (|p|^2 - 2 a.p) - (|n|^2 - 2 a.n)."""
  anchor, positive, negative = triplets.T
  products = _inner_products(vectors)
  distances = jnp.diagonal(products) - 2 * products  # but for |a|^2, which falls away
  return jax.nn.softplus(distances[anchor, positive] - distances[anchor, negative])


@jax.custom_vjp
def _inner_products(vectors: Float[Array, "rows dim"]) -> Float[Array, "rows rows"]:
  """Of each vector with each, so that the gradient too is one product, where autodiff has one for either factor."""
  # In full precision: TF32's error of 1e-3 is of products, and would be large for their differences.
  return jnp.matmul(vectors, vectors.T, precision=jax.lax.Precision.HIGHEST)


def _inner_products_backward(vectors, slopes):
  return (jnp.matmul(slopes + slopes.T, vectors, precision=jax.lax.Precision.HIGHEST),)


_inner_products.defvjp(lambda vectors: (_inner_products(vectors), vectors), _inner_products_backward)


def _mean_in_blocks(
  terms: Callable[..., Float[Array, " block_rows"]], arrays: tuple[Shaped[Array, "num ..."], ...], block_rows: int
) -> Float[Array, ""]:
  """Mean of `terms(*arrays)`, at most `block_rows` rows at a time; the backward pass computes each block again."""
  num = len(arrays[0])
  block_rows = min(block_rows, num)
  num_blocks = -(-num // block_rows)

  def split(rows):
    padded = jnp.pad(rows, [(0, num_blocks * block_rows - num)] + [(0, 0)] * (rows.ndim - 1))
    # A block takes every num_blocks-th row: where rows are split over devices, each device has part of every block.
    return padded.reshape(block_rows, num_blocks, *rows.shape[1:]).swapaxes(0, 1)

  @jax.checkpoint
  def add(total, block):
    *rows, weight = block
    return total + (terms(*rows) * weight).sum(), None

  blocks = *(split(rows) for rows in arrays), split(jnp.ones(num))
  total, _ = jax.lax.scan(add, jnp.zeros(()), blocks)
  return total / num


def sample_triplets(key: PRNGKeyArray, batch_size: int) -> Int[Array, "num 3"]:
  """Triplets for `soft_triplet_loss`: every row once as anchor with each of its negatives.

  Row i of [composed; targets] has row (i + batch) mod 2 batch as its positive; its negatives are three distinct rows
  of the others, uniformly drawn (fewer when a batch of two has no three others). Raises ValueError for a batch of one.
  """
  if batch_size < 2:
    raise ValueError(f"the soft triplet loss needs negatives: batch size {batch_size}, at least 2 expected")
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


def reconstruction_loss(decoded: Float[Array, "batch dim"], original: Float[Array, "batch dim"]) -> Float[Array, ""]:
  """Mean squared error of a decoder against the raw feature that it rebuilds. Gradients flow into both."""
  return jnp.square(decoded - original).mean()


def rotational_symmetry_loss(
  turned_back: Float[Array, "batch dim"],
  references: Float[Array, "batch dim"],
  pair_loss: Callable[[Float[Array, "batch dim"], Float[Array, "batch dim"]], Float[Array, ""]],
) -> Float[Array, ""]:
  """`pair_loss` between targets that were turned back by their texts and the references they should give.

  ComposeAE's rotational symmetry loss (Anwaar et al., WACV 2021). Expects features already on the sphere.
  """
  return pair_loss(turned_back, references)


PairLoss = Callable[..., Float[Array, ""]]  # (composed, targets), and `negatives` where a loss has these


PAIR_LOSSES = ("batch_based_classification", "soft_triplet", "info_nce", "sigmoid")


BIASED_LOSSES = ("sigmoid",)  # those with a learned bias, which is the model's


def pair_loss(
  name: str,
  key: PRNGKeyArray,
  batch_size: int,
  *,
  bias: Float[Array, ""] | None = None,
  block_rows: int = 0,
  axis_name: str | None = None,
) -> PairLoss:
  """The loss between composed features and targets called `name`; `key` draws the soft triplet's negatives.

  `batch_size` is the global batch's, `bias` the model's where the loss is one of BIASED_LOSSES. `block_rows` is as for
  the losses: it bounds memory and changes no value. With `axis_name` the loss takes a device's own rows and sees all
  devices'.
  """
  if name == "batch_based_classification":
    loss = functools.partial(batch_classification_loss, block_rows=block_rows)
  elif name == "info_nce":
    loss = functools.partial(info_nce_loss, block_rows=block_rows)
  elif name == "sigmoid":
    loss = functools.partial(sigmoid_loss, bias=bias, block_rows=block_rows)
  else:
    triplets = sample_triplets(key, batch_size)
    loss = functools.partial(soft_triplet_loss, triplets=triplets, block_rows=block_rows)
  if axis_name is None:
    return loss

  def of_all_devices(*features, **negatives):
    features, negatives = jax.lax.all_gather((features, negatives), axis_name, tiled=True)
    return loss(*features, **negatives)

  return of_all_devices
