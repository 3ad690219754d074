"""Prints, as JSON, what evaluation and mining find, and which images and how many texts this process has read for it.

python -m tests.fakes.shared_evaluation JSON [COORDINATOR NUM_PROCESSES PROCESS_ID]

JSON has the folders `raw` and `prepared` of a tiny MIT-States, and `bert` of a tiny BERT.
"""

import dataclasses
import json
import sys

import jax
import numpy as np
import optax

from composeret_jax.distributed import data_mesh, on_every_device, place
from composeret_jax.evaluation.evaluator import Evaluator
from composeret_jax.models.variables import variables_of
from composeret_jax.pretrained import frozen_features
from composeret_jax.pretrained.text_encoder import open_texts
from composeret_jax.train_step.state import create_state
from composeret_jax.training.hard_negatives import NegativesMiner
from composeret_jax.training.model import build_model
from data_pipelines.dataset import open_dataset
from tests.fakes import tiny


class CountedPixels:
  """Keeps the rows that are asked for."""

  def __init__(self, pixels):
    self.pixels, self.rows = pixels, []

  def __len__(self):
    return len(self.pixels)

  def __getitem__(self, rows):
    self.rows += rows.tolist()
    return self.pixels[rows]


def evaluate(raw, prepared, bert):
  """Ranks, metrics and the sums of features, which all processes share; then what this one has read."""
  config = tiny.config(raw, prepared)
  config.eval.batch_size, config.eval.rerank = 2, 3
  config.model.text_encoder.update(name="bert", path=bert, projection_dim=8)
  dataset = open_dataset(config.data, config.text_query)
  pixels = CountedPixels(dataset.gallery_pixels)
  counting = dataclasses.replace(dataset, open_pixels=lambda *_: pixels)
  num_texts = []
  encoder = frozen_features.FrozenEncoder
  call = encoder.__call__
  encoder.__call__ = lambda self, rows: num_texts.append(len(rows)) or call(self, rows)
  texts = open_texts(config.model.text_encoder, dataset.train_triplets.texts(), dataset.queries.texts, batch_size=2)
  model = build_model(config.model, texts.build_encoder, seed=0, image_size=16, empty_text=texts.empty_text())
  everywhere = on_every_device(data_mesh())
  variables = jax.jit(lambda variables: variables, out_shardings=everywhere)(variables_of(model))
  found = Evaluator(model, counting, texts.reader, config)(variables)
  table = np.asarray(model.text_encoder.trunk.features[...])
  mined, encoded = mine(model, dataset, config)
  return {
    "ranks": found.ranks.tolist(),
    "metrics": dict(found.metrics),
    "table": table.tolist(),
    "read": sorted(pixels.rows),
    "num_texts": sum(num_texts),
    "mined": mined,
    "encoded": encoded,
  }


def mine(model, dataset, config):
  """The hard negatives of each training image, which all processes share; then the images that this one has encoded."""
  config.hard_negatives.num = 2
  miner = NegativesMiner(model, dataset.train_images.labels, config)
  encode, encoded = miner._encode, set()

  def counted(variables, images, rows):
    encoded.update(row for shard in rows.addressable_shards for row in shard.data.tolist())
    return encode(variables, images, rows)

  miner._encode = counted
  everywhere = on_every_device(data_mesh())
  images = place(dataset.train_pixels[np.arange(len(dataset.train_images))], everywhere)
  state = jax.tree.map(lambda leaf: place(leaf, everywhere), create_state(model, optax.sgd(0.1), seed=0))
  return np.asarray(miner.mine(state, images).negatives["rows"]).tolist(), sorted(encoded)


if __name__ == "__main__":
  if len(sys.argv) > 2:
    jax.distributed.initialize(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
  print("RESULT", json.dumps(evaluate(**json.loads(sys.argv[1]))))
