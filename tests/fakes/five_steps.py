"""Prints, as JSON, the losses of five steps from one state for each way of running them that is asked for.

python -m tests.fakes.five_steps JSON [COORDINATOR NUM_PROCESSES PROCESS_ID]

JSON is a list of keyword arguments of `losses`.
"""

import dataclasses
import json
import math
import sys

from flax import nnx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
import numpy as np

from composeret_jax import distributed
from composeret_jax.distributed import AXIS, fetch, on_every_device, place, SplitRows
from composeret_jax.models.layers.linear import linear
from composeret_jax.pretrained.text_encoder import open_texts
from composeret_jax.train_step.losses import LOSSES
from composeret_jax.train_step.optimizers import build_optimizer
from composeret_jax.train_step.parallel import Parallel
from composeret_jax.train_step.state import create_state, evaluated_variables, kept_on
from composeret_jax.train_step.step import make_train_step
from composeret_jax.training.model import build_model
from tests.fakes import tiny

NUM_STEPS, BATCH, NUM_IMAGES = 5, 8, 50


class LinearImageEncoder(nnx.Module):
  """An image encoder without batch norm."""

  def __init__(self, feature_dim):
    self.layer = linear(16 * 16 * 3, feature_dim, rngs=nnx.Rngs(1))
    self.feature_dim = feature_dim

  def __call__(self, pixels):
    return self.layer(pixels.reshape(len(pixels), -1) / 255.0 - 0.5)


def batches(images, process_index=0, num_processes=1):
  """Rows and tokens of a process's share of each batch; pixels where `images` are given."""
  rng = np.random.default_rng(0)
  share = slice(process_index * BATCH // num_processes, (process_index + 1) * BATCH // num_processes)
  for _ in range(NUM_STEPS):
    rows = rng.integers(0, NUM_IMAGES, (2, BATCH)).astype(np.int32)
    reference, target = rows if images is None else images[rows]
    tokens = rng.integers(0, 5, (BATCH, 2)).astype(np.int32)
    yield {"reference": reference[share], "target": target[share], "tokens": tokens[share]}


def negatives(num):
  """As if mined: any images, and few labels, so that some are the targets' own."""
  rng = np.random.default_rng(2)
  rows, labels = rng.integers(0, NUM_IMAGES, (NUM_IMAGES, num)), rng.integers(0, 3, NUM_IMAGES)
  return {"rows": jnp.asarray(rows, jnp.int32), "labels": jnp.asarray(labels, jnp.int32)}


def run(
  *,
  loss,
  kind="jit",
  num_devices=1,
  num_microbatches=1,
  steps_per_call=1,
  resident=False,
  batch_norm=True,
  num_negatives=0,
  block_rows=0,
  learning_rate=0.01,
  split_from=0,
) -> tuple[list[float], list[np.ndarray]]:
  """The total loss of each step, and all parameters afterwards.

  With `split_from` the state is split over the devices, arrays of so many numbers and larger ones.
  """
  config = tiny.config("unused", "unused")
  config.loss, config.learning_rate = loss, learning_rate
  config.batch_size, config.loss_block_rows = BATCH, block_rows
  config.train.num_microbatches = num_microbatches
  texts = open_texts(config.model.text_encoder, ["old red new cat"], ["old red"], batch_size=1)
  model = build_model(config.model, texts.build_encoder, seed=0, has_bias=LOSSES[loss].has_bias)
  if not batch_norm:
    model.image_encoder = LinearImageEncoder(config.model.image_encoder.feature_dim)
  optimizer = build_optimizer(config)
  mesh = Mesh(np.array(jax.devices()[:num_devices]), (AXIS,))
  distributed.MIN_SPLIT_SIZE = split_from
  parallel = Parallel(kind, mesh, steps_per_call, splits_state=split_from > 0)
  step = make_train_step(model, optimizer, config, parallel)
  steps = parallel.compile(step)
  first = create_state(model, optimizer, seed=0)
  if num_negatives:
    first = dataclasses.replace(first, negatives=negatives(num_negatives))
  state = jax.jit(lambda state: kept_on(mesh, state, split=parallel.splits_state))(first)
  images = np.random.default_rng(1).integers(0, 255, (NUM_IMAGES, 16, 16, 3), dtype=np.uint8)
  own = list(batches(None if resident else images, jax.process_index(), jax.process_count()))
  if steps_per_call > 1:
    own = [jax.tree.map(lambda *rows: np.stack(rows), *own)]  # all of them in one call
  on_device = SplitRows.of(images, mesh) if resident == "split" else None
  on_device = place(images, on_every_device(mesh)) if resident is True else on_device
  totals = []
  for batch in own:
    state, terms = steps(state, jax.tree.map(parallel.place, batch), on_device)
    totals += np.atleast_1d(fetch(terms["total"])).tolist()
  if split_from:
    check_split(state, mesh, split_from)
  return totals, [fetch(leaf) for leaf in jax.tree.leaves(state.variables.params)]


def check_split(state, mesh, split_from):
  """Each device has its part of every large array, after the steps too; evaluation has whole parameters."""
  kept = state.variables.params, state.optimizer_state, state.negatives
  for leaf in jax.tree.leaves(kept):
    num_parts = max((math.gcd(size, mesh.size) for size in leaf.shape), default=1) if leaf.size >= split_from else 1
    part = math.prod(leaf.addressable_shards[0].data.shape)
    assert part == leaf.size // num_parts, (leaf.shape, leaf.sharding)
  split, whole = (jax.tree.leaves(params) for params in (state.variables.params, evaluated_variables(state).params))
  for part, leaf in zip(split, whole, strict=True):
    np.testing.assert_array_equal(np.asarray(leaf), fetch(part))


def losses(**case) -> list[float]:
  """The total loss of each step, and then the sum of all parameters' magnitudes."""
  totals, params = run(**case)
  return [*totals, float(sum(np.abs(param).sum() for param in params))]


if __name__ == "__main__":
  if len(sys.argv) > 2:
    jax.distributed.initialize(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
  print("RESULT", json.dumps([losses(**case) for case in json.loads(sys.argv[1])]))
