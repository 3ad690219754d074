"""One training step as a pure function of arrays."""

from collections.abc import Callable, Mapping
import dataclasses
import functools
from typing import Any, TypeVar

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree
import ml_collections
import optax

from composeret_jax.models.layers.batch_norm import BatchNorm
from composeret_jax.models.layers.dropout import RowKeys
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.models.variables import Variables
from composeret_jax.train_step.augment import augment
from composeret_jax.train_step.hard_negatives import HardNegatives, joined, no_negatives
from composeret_jax.train_step.losses import LOSSES
from composeret_jax.train_step.objective import (
  encode_batch,
  encode_given_negatives,
  encode_negatives,
  reference_negatives,
  weighted_losses,
)
from composeret_jax.train_step.parallel import Parallel
from composeret_jax.train_step.state import TrainState

Carry = TypeVar("Carry")


# They tell random numbers apart: of references that are composed as targets from queries', of given negatives from
# mined ones'.
REFERENCES, GIVEN = 1, 1


def in_microbatches(
  function: Callable[..., tuple[Carry, PyTree]], carry: Carry, arrays: PyTree, count: int, num_shards: int
) -> tuple[Carry, PyTree]:
  """`function(carry, *arrays)` -> (carry, rows), over `count` pieces of the batch one after the other.

  Going back, each piece is computed again, so that no more than one piece's activations are held at a time, while what
  follows sees the features of the whole batch. Each piece has an equal part of the rows of each of `num_shards`
  devices, so that no row moves between devices. Rows keep their order.
  """
  if count == 1:
    return function(carry, *arrays)

  def split(rows):
    by_shard = rows.reshape(num_shards, count, -1, *rows.shape[1:])  # [shards, count, batch / shards / count, ...]
    return by_shard.swapaxes(0, 1).reshape(count, -1, *rows.shape[1:])

  def join(pieces):
    by_shard = pieces.reshape(count, num_shards, -1, *pieces.shape[2:])
    return by_shard.swapaxes(0, 1).reshape(-1, *pieces.shape[2:])

  # Inside the loop nothing can be merged with the first computation, which prevent_cse guards against.
  again = jax.checkpoint(lambda carry, piece: function(carry, *piece), prevent_cse=False)
  carry, features = jax.lax.scan(again, carry, jax.tree.map(split, arrays))
  return carry, jax.tree.map(join, features)


Batch = Mapping[str, Array]


Losses = dict[str, Float[Array, "..."]]


TrainStep = Callable[[TrainState, Batch, Array | None], tuple[TrainState, Losses]]


def make_train_step(
  model: RetrievalModel,
  optimizer: optax.GradientTransformation,
  config: ml_collections.ConfigDict,
  parallel: Parallel | None = None,
) -> TrainStep:
  """The step for a model of this structure: (state, batch, images) -> (state, losses, `gradient_norm` among them).

  `config` is a run's whole configuration. `batch` holds texts, and `reference` and `target` as pixels [batch, height,
  width, 3] uint8 or, where `images` holds all training images, as its rows [batch]; also `reference_label` and
  `target_label` [batch] where the configuration has references as negatives or masks labels, and `negative` [batch,
  num, ...] with `negative_label` [batch, num] where queries are given negatives. `parallel` says how the rows are split
  over devices: arrays are global, or under pmap a device sees its own rows of the batch, and averages statistics,
  losses and gradients over the mapped axis. Without, one device has all rows.
  """
  loss_fn = _make_loss(model, config, parallel)
  axis_name = parallel.axis_name if parallel else None

  def train_step(state, batch, images=None):
    key = jax.random.fold_in(state.key, state.step)
    params, batch_stats, frozen = state.variables
    gradients, (losses, batch_stats) = jax.grad(loss_fn, has_aux=True)(
      params, batch_stats, frozen, state.negatives, batch, images, key
    )
    if axis_name:
      gradients, losses = jax.lax.pmean((gradients, losses), axis_name)
    updates, optimizer_state = optimizer.update(gradients, state.optimizer_state, params)
    variables = Variables(optax.apply_updates(params, updates), batch_stats, frozen)
    average = state.averaged_batch_stats
    if average:
      average = optax.incremental_update(batch_stats, average, 1 - config.ema_decay)
    new_state = dataclasses.replace(
      state,
      step=state.step + 1,
      variables=variables,
      optimizer_state=optimizer_state,
      averaged_batch_stats=average,
    )
    losses = {**losses, "gradient_norm": gradient_norm(gradients)}
    return skip_nonfinite(state, new_state, losses) if config.train.on_nonfinite == "skip" else (new_state, losses)

  return train_step


def _mined_and_given(
  model: RetrievalModel,
  table: Mapping[str, Array],
  batch: Mapping[str, Array],
  images: Any,
  augmented: Callable,
  key: PRNGKeyArray,
  rows: Int[Array, " rows"],
) -> list[HardNegatives]:
  """The negatives that `table` and the batch name, encoded; `rows` are the batch's numbers in the global batch."""
  negatives = []
  if table:
    negatives.append(encode_negatives(model, table, batch["target"], images, augmented, RowKeys(key, rows)))
  if "negative" in batch:
    own_keys = RowKeys(jax.random.fold_in(key, GIVEN), rows)
    negatives.append(encode_given_negatives(model, batch, images, augmented, own_keys))
  return negatives


def _in_training(graphdef: nnx.GraphDef, axis_name: str | None, *variables: Any) -> RetrievalModel:
  """The model with these variables, in training; `axis_name` is what pmap calls the devices."""
  # Without the copy batch norm would write its statistics into variables of an outer trace.
  trained = nnx.merge(graphdef, *variables, copy=True)
  trained.train()
  trained.set_attributes(BatchNorm, axis_name=axis_name, raise_if_not_found=False)
  return trained


def _make_loss(
  model: RetrievalModel, config: ml_collections.ConfigDict, parallel: Parallel | None
) -> Callable[..., tuple[Float[Array, ""], tuple[Losses, Mapping[str, Any]]]]:
  """The function whose first argument's gradient a step takes: (total loss, (losses, statistics afterwards))."""
  weights = config.model.loss_weights.to_dict()
  augmented = functools.partial(augment, config=config.augment)
  axis_name, num_shards = (parallel.axis_name, parallel.num_shards) if parallel else (None, 1)
  in_training = functools.partial(_in_training, nnx.graphdef(model), axis_name)

  def loss_fn(params, batch_stats, frozen, table, batch, images, key):
    text_key, composer_key, loss_key = jax.random.split(key, 3)
    num_rows = len(batch["reference"])
    rows = jnp.arange(num_rows) + (jax.lax.axis_index(axis_name) * num_rows if axis_name else 0)  # of the global batch

    def encode(batch_stats, rows, batch):
      trained = in_training(params, batch_stats, frozen)
      features = encode_batch(trained, batch, images, augmented, RowKeys(text_key, rows))
      negatives = _mined_and_given(trained, table, batch, images, augmented, loss_key, rows)
      return nnx.as_pure(nnx.state(trained, nnx.BatchStat)), (features, negatives)

    batch_stats, (features, negatives) = in_microbatches(
      encode, batch_stats, (rows, batch), config.train.num_microbatches, num_shards
    )
    trained = in_training(params, batch_stats, frozen)
    if config.loss_reference_as_negative:
      rngs = RowKeys(jax.random.fold_in(composer_key, REFERENCES), rows)
      negatives.append(reference_negatives(trained, features[0], batch, rngs=rngs))
    if config.loss_label_mask:
      negatives.append(no_negatives(batch, features[1].shape[1]))
    main = LOSSES[config.loss]
    loss = main.pair_loss(
      loss_key,
      config.batch_size,
      parallel,
      bias=None if trained.bias is None else trained.bias[...],
      block_rows=config.loss_block_rows,
    )
    losses = weighted_losses(
      trained,
      *features,
      loss=loss,
      weights=weights,
      on_sphere=main.on_sphere,
      rngs=RowKeys(composer_key, rows),
      negatives=joined(negatives),
    )
    return losses["total"], (losses, nnx.as_pure(nnx.state(trained, nnx.BatchStat)))

  return loss_fn


# Values of a gradient's leaf below which a sum of its own takes a GPU longer to start than to compute.
FEW = 2**16


def gradient_norm(gradients: PyTree[Float[Array, "..."]]) -> Float[Array, ""]:
  """The Euclidean norm of all leaves as one vector.

  Small leaves, a hundred biases and scales, are summed up as one array; large ones, which devices may hold in parts,
  by themselves.
  """
  # On a CPU, without the barrier, the optimiser's squares are taken for the norm's too, which it then writes to memory.
  # On a GPU the barrier would write gradients of a lower precision as float32.
  apart = jax.lax.platform_dependent(gradients, cpu=jax.lax.optimization_barrier, default=lambda arrays: arrays)
  leaves = jax.tree.leaves(apart)
  small = [leaf.ravel() for leaf in leaves if leaf.size < FEW]
  arrays = [leaf for leaf in leaves if leaf.size >= FEW] + ([jnp.concatenate(small)] if small else [])
  return jnp.sqrt(sum(jnp.square(array).sum() for array in arrays))


def skip_nonfinite(before: TrainState, after: TrainState, losses: Losses) -> tuple[TrainState, Losses]:
  """The state after a step, changed only where its total loss and its gradient are finite; else it counts as skipped.

  The losses do not change, and get `num_skipped` and `num_skipped_in_a_row` beside them.
  """
  finite = jnp.isfinite(losses["total"]) & jnp.isfinite(losses["gradient_norm"])
  skipped = 1 - finite.astype(jnp.int32)
  changed = ("variables", "optimizer_state", "averaged_batch_stats")
  old, new = ({name: getattr(state, name) for name in changed} for state in (before, after))
  kept: dict[str, Any] = jax.tree.map(lambda old, new: jnp.where(finite, new, old), old, new)
  counts: dict[str, Any] = {
    "num_skipped": before.num_skipped + skipped,
    "num_skipped_in_a_row": (before.num_skipped_in_a_row + 1) * skipped,
  }
  return dataclasses.replace(after, **kept, **counts), losses | counts
