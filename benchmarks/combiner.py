"""An epoch of training the Combiner on the features of frozen encoders, against the same in PyTorch.

python -m benchmarks.combiner --output=combiner.json

Features are random, `--num_triplets` triplets over `--num_images` images and as many texts as triplets. Ours is the
step that training runs, with its loader and the image features on the device; PyTorch's gathers its batches from
tensors that it holds whole. Each round is a process of its own, the contenders by turns, as other programs may slow
the machine; after one call that compiles, whole batches are timed, and the median counts. An epoch's time is a
step's times triplets / batch. `cpu_seconds`, over all cores, says more than the clock where other programs run.
"""

from collections.abc import Callable, Iterator
import importlib.util
import json
import statistics
import sys
import time
from typing import Any

from absl import app, flags
from flax import nnx
import jax
import numpy as np

from benchmarks.contenders import report, run_alone
from composeret_jax.distributed import data_mesh, on_every_device, place
from composeret_jax.models.composers import COMPOSERS
from composeret_jax.models.encoders.projected import FeatureTable, ProjectedTextEncoder
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.train_step.optimizers import build_optimizer
from composeret_jax.train_step.parallel import Parallel
from composeret_jax.train_step.state import create_state
from composeret_jax.train_step.step import make_train_step
from configs import base, models
from data_pipelines.loader import LoadRows, to_devices, train_batches, TripletStream
from data_pipelines.samplers import ListedSampler
from data_pipelines.tables import QueryTable
from data_pipelines.texts.readers import RowReader

CONTENDERS = ("ours", "pytorch")
LEARNING_RATE, WEIGHT_DECAY = 2e-5, 0.01

_NUM_TRIPLETS = flags.DEFINE_integer("num_triplets", 18_000, "Triplets in an epoch.", lower_bound=1)
_NUM_IMAGES = flags.DEFINE_integer("num_images", 45_000, "Images with features.", lower_bound=2)
_DIM = flags.DEFINE_integer("dim", 512, "Width of the features.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 1_024, "Triplets a step.", lower_bound=2)
_STEPS_PER_CALL = flags.DEFINE_integer("steps_per_call", 1, "Of our steps, in one dispatch.", lower_bound=1)
_NUM_STEPS = flags.DEFINE_integer("num_steps", 0, "Timed steps in a round; 0: as many as an epoch has.", lower_bound=0)
_NUM_ROUNDS = flags.DEFINE_integer("num_rounds", 3, "Processes of each contender.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
_CONTENDER = flags.DEFINE_enum("contender", None, CONTENDERS, "Times only this one, in this process, and prints JSON.")


def features(num: int, seed: int) -> np.ndarray:
  """Random features of length 1, [num, dim]."""
  rows = np.random.default_rng(seed).normal(size=(num, _DIM.value)).astype(np.float32)
  return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def triplets() -> np.ndarray:
  """Rows of reference, target and text, [num_triplets, 3]; each triplet has a text of its own."""
  images = np.random.default_rng(2).integers(0, _NUM_IMAGES.value, (_NUM_TRIPLETS.value, 2))
  return np.column_stack([images, np.arange(_NUM_TRIPLETS.value)])


class FeatureRows(nnx.Module):
  """Stands for an image encoder where its features are given."""

  def __init__(self, feature_dim: int):
    self.feature_dim = feature_dim

  def __call__(self, rows: jax.Array) -> jax.Array:
    """Returns the features themselves."""
    return rows


def batches(parallel: Parallel, num_steps: int) -> Iterator[dict]:
  """As training makes them from listed triplets."""
  references, targets, texts = triplets().T
  names = [str(text) for text in texts]
  queries = QueryTable(references, names, [str(row) for row in targets], [""] * len(names))
  sampler = ListedSampler(queries, [str(row) for row in range(_NUM_IMAGES.value)])
  load = LoadRows(TripletStream(sampler, seed=0), RowReader(tuple(names)))
  loaded = train_batches(load, batch_size=_BATCH_SIZE.value, first_step=0, num_steps=num_steps, num_workers=0)
  return to_devices(loaded, parallel.place, steps_per_call=parallel.steps_per_call)


def build_ours(max_steps: int) -> tuple[Callable[[int], float], int]:
  """A function that does some steps and returns the last one's loss, and the number of parameters."""
  config = base.get_config()
  config.model = models.get_config("combiner")
  config.batch_size, config.loss, config.optimizer = _BATCH_SIZE.value, "info_nce", "adamw"
  config.learning_rate, config.weight_decay = LEARNING_RATE, WEIGHT_DECAY
  dim, mesh = _DIM.value, data_mesh()
  texts = ProjectedTextEncoder(FeatureTable(features(_NUM_TRIPLETS.value, seed=1)), 0, rngs=nnx.Rngs(0))
  composer = COMPOSERS["combiner"](dim, dim, rngs=nnx.Rngs(0))
  model = RetrievalModel(FeatureRows(dim), texts, composer, radius=config.model.radius, train_radius=False)
  optimizer = build_optimizer(config)
  parallel = Parallel("jit", mesh, _STEPS_PER_CALL.value)
  step = parallel.compile(make_train_step(model, optimizer, config, parallel))
  state = create_state(model, optimizer, seed=0)
  state = jax.jit(lambda state: state, out_shardings=on_every_device(mesh))(state)
  images = place(features(_NUM_IMAGES.value, seed=0), on_every_device(mesh))
  loaded = batches(parallel, max_steps)

  def run(num_steps: int) -> float:
    nonlocal state
    for _ in range(num_steps // parallel.steps_per_call):
      state, losses = step(state, next(loaded), images)
    return float(np.ravel(losses["total"])[-1])

  return run, sum(leaf.size for leaf in jax.tree.leaves(state.variables.params))


def run_contender(contender: str) -> dict[str, Any]:
  """Seconds a step of one contender, in this process."""
  steps_per_call = _STEPS_PER_CALL.value
  num_steps = _NUM_STEPS.value or -(-_NUM_TRIPLETS.value // _BATCH_SIZE.value)
  num_steps = -(-num_steps // steps_per_call) * steps_per_call
  if contender == "ours":
    run, num_parameters = build_ours(num_steps + 4 * steps_per_call)
  else:
    from benchmarks import torch_combiner

    tables = features(_NUM_IMAGES.value, seed=0), features(_NUM_TRIPLETS.value, seed=1)
    options = {"batch_size": _BATCH_SIZE.value, "learning_rate": LEARNING_RATE, "weight_decay": WEIGHT_DECAY}
    run, num_parameters = torch_combiner.build(*tables, triplets(), **options)
  run(steps_per_call)
  start, cpu_start = time.perf_counter(), time.process_time()
  loss = run(num_steps)
  seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
  figures = {"seconds": seconds / num_steps, "cpu_seconds": cpu_seconds / num_steps}
  return figures | {"loss": loss, "num_parameters": num_parameters}


def compare() -> list[dict[str, Any]]:
  """A row for each contender; raises ValueError when the models are not of one size."""
  contenders = [name for name in CONTENDERS if name == "ours" or importlib.util.find_spec("torch")]
  rounds = {name: [] for name in contenders}
  for _ in range(_NUM_ROUNDS.value):
    for name in contenders:
      rounds[name].append(run_alone([*sys.argv[1:], f"--contender={name}"]))
  sizes = {name: done[0]["num_parameters"] for name, done in rounds.items()}
  if len(set(sizes.values())) > 1:
    raise ValueError(f"the models differ in their number of parameters: {sizes}")
  steps = _NUM_TRIPLETS.value / _BATCH_SIZE.value
  rows = []
  for name, done in rounds.items():
    epochs = [steps * figures["seconds"] for figures in done]
    row = {"contender": name, "seconds_an_epoch": statistics.median(epochs), "fastest": min(epochs)}
    cpu_seconds = statistics.median(steps * figures["cpu_seconds"] for figures in done)
    rows.append(row | {"slowest": max(epochs), "cpu_seconds": cpu_seconds, "loss": done[0]["loss"]})
  return rows


def main(_) -> None:
  """Compares the contenders, or times one."""
  if _CONTENDER.value:
    print(json.dumps(run_contender(_CONTENDER.value)))
    return
  title = f"The Combiner, width {_DIM.value}, {_NUM_TRIPLETS.value:,} triplets, batch {_BATCH_SIZE.value:,}"
  report(title, compare(), _OUTPUT.value)


if __name__ == "__main__":
  app.run(main)
