"""Each device's work in a loss's step as devices are added and the batch stays: read from compiled programs.

python -m benchmarks.scaling_out --output=scaling_out.json    # batch 32,768, width 512; nothing runs
python -m benchmarks.scaling_out --num_devices=1,8,64,256 --kinds=jit --block_rows=0

The devices are fake ones of a CPU, in a process for each number. The step is the train step on given features: sum
composer, plain SGD, so that the loss is all of its work. `flops`, `temporary_gb` and `collective_mb` are of one device,
loops counted as often as they run; `flops_share` is the part of the fewest devices' FLOPs, times the ratio
of the numbers of devices: 1 where work falls as devices are added. `in_loops` counts the collectives inside loops.
"""

import itertools
import json
import operator
import os
import sys
from typing import Any

from absl import app, flags
from flax import nnx
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
import ml_collections

from benchmarks.contenders import report, run_alone
from benchmarks.given_features import Given
from benchmarks.program_cost import program_cost
from composeret_jax.distributed import AXIS, data_mesh, on_every_device
from composeret_jax.models.composers import COMPOSERS
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.train_step.losses import LOSSES
from composeret_jax.train_step.optimizers import build_optimizer
from composeret_jax.train_step.parallel import PARALLEL, Parallel
from composeret_jax.train_step.state import create_state
from composeret_jax.train_step.step import make_train_step
from configs import base, models

_NUM_DEVICES = flags.DEFINE_list("num_devices", ["1", "2", "4", "8"], "Numbers of devices.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32_768, "Triplets a step, over all devices.", lower_bound=2)
_DIM = flags.DEFINE_integer("dim", 512, "Width of the features.", lower_bound=1)
_BLOCK_ROWS = flags.DEFINE_list("block_rows", ["0", "256"], "Values of loss_block_rows.")
_KINDS = flags.DEFINE_multi_enum("kinds", PARALLEL, PARALLEL, "How the step runs, one a flag.")
_LOSSES = flags.DEFINE_multi_enum("losses", list(LOSSES), list(LOSSES), "The losses, one a flag.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
_ALONE = flags.DEFINE_bool("alone", False, "Measures on the devices of this process.")


def loss_config(loss: str, batch_size: int, block_rows: int) -> ml_collections.ConfigDict:
  """A configuration of the sum composer, and of no other work than the loss."""
  config = base.get_config()
  config.model = models.get_config("sum")
  config.loss, config.batch_size, config.loss_block_rows = loss, batch_size, block_rows
  return config


def compiled_step(config: ml_collections.ConfigDict, parallel: Parallel, dim: int) -> jax.stages.Compiled:
  """The train step on features of width `dim`, compiled from shapes alone."""

  def build() -> RetrievalModel:
    composer = COMPOSERS["sum"](dim, dim, rngs=nnx.Rngs(0))
    return RetrievalModel(Given(), Given(), composer, has_bias=LOSSES[config.loss].has_bias)

  optimizer = build_optimizer(config)
  step = make_train_step(nnx.eval_shape(build), optimizer, config, parallel)
  state = jax.eval_shape(lambda: create_state(build(), optimizer, seed=0))
  whole, rows = on_every_device(parallel.mesh), NamedSharding(parallel.mesh, PartitionSpec(AXIS))
  state = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=whole), state)
  shape = (config.batch_size, dim)
  if parallel.kind == "pmap":
    shape = (parallel.mesh.size, config.batch_size // parallel.mesh.size, dim)
  batch = {name: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=rows) for name in ("reference", "target", "text")}
  return parallel.compile(step).lower(state, batch, None).compile()


def measure() -> list[dict[str, Any]]:
  """A row for each loss, kind and number of block rows, on this process's devices."""
  found = []
  for loss, kind, block_rows in itertools.product(_LOSSES.value, _KINDS.value, map(int, _BLOCK_ROWS.value)):
    config = loss_config(loss, _BATCH_SIZE.value, block_rows)
    compiled = compiled_step(config, Parallel(kind, data_mesh(), steps_per_call=1), _DIM.value)
    cost = program_cost(compiled.as_text())
    found.append({
      "loss": loss,
      "kind": kind,
      "block_rows": block_rows,
      "devices": jax.device_count(),
      "flops": cost.flops,
      "temporary_gb": compiled.memory_analysis().temp_size_in_bytes / 1e9,
      "collective_mb": cost.collective_bytes / 1e6,
      "collectives": cost.num_collectives,
      "in_loops": cost.collectives_in_loops,
    })  # fmt: skip
  return found


def measure_on(num_devices: int) -> list[dict[str, Any]]:
  """`measure` in a process that has so many devices."""
  flag = f"--xla_force_host_platform_device_count={num_devices}"
  environment = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flag}"}
  return run_alone([*sys.argv[1:], "--alone"], environment)


def main(_) -> None:
  """Measures in a process for each number of devices, or in this one alone."""
  if _ALONE.value:
    print(json.dumps(measure()))
    return
  rows = [row for num in map(int, _NUM_DEVICES.value) for row in measure_on(num)]
  key = operator.itemgetter("loss", "kind", "block_rows")
  fewest = {key(row): row for row in sorted(rows, key=operator.itemgetter("devices"), reverse=True)}
  for row in rows:
    of_one = fewest[key(row)]["flops"] * fewest[key(row)]["devices"]
    row["flops_share"] = row["flops"] * row["devices"] / of_one
  rows.sort(key=lambda row: (*key(row), row["devices"]))
  report(f"The step of a loss alone, batch {_BATCH_SIZE.value:,}, width {_DIM.value}", rows, _OUTPUT.value)


if __name__ == "__main__":
  app.run(main)
