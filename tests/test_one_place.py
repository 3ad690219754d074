"""One idea, one place: a composer, a loss and a data set are added by public names, and train together.

A line of registration is an entry of COMPOSERS or BUILDERS, which the tests set for their own time.
"""

import importlib
import io
import json
import math
import pathlib
import shutil
from typing import ClassVar

import ml_collections
import numpy as np
from PIL import Image as PillowImage
import pytest

from composeret_jax.models.composers import Composer, COMPOSERS
from composeret_jax.models.layers.linear import ToWidth
from composeret_jax.train_step import losses
from composeret_jax.training.config.check import check_config
from composeret_jax.training.train import train
from configs import base, models
from data_pipelines.datasets.builder import TableBuilder
from data_pipelines.datasets.prepare import BUILDERS, PROTOCOLS
from data_pipelines.datasets.tables.rows import Image, Query
from data_pipelines.field_rules import POSITIVE, whole_number
from data_pipelines.input_error import InputError
from data_pipelines.protocol import Protocol
from data_pipelines.tables import Triplet


class Offset(Composer):
  """A new composer, in one file: the image moved by the text."""

  options: ClassVar = {"scale": POSITIVE}

  def __init__(self, image_dim, text_dim, *, scale=1.0, rngs):
    self.to_image_width = ToWidth(text_dim, image_dim, rngs=rngs)
    self.scale = scale

  def __call__(self, image, text, *, rngs=None):
    return image + self.scale * self.to_image_width(text)

  @staticmethod
  def expected_image_dim(image_dim):
    return "" if image_dim <= 64 else "at most 64: offsets are small"


HINGE = '''"""A new loss, in one file: an inner product and a learned bias make up a margin."""

import jax

from composeret_jax.train_step.loss import Loss


def hinge_loss(composed, targets, bias, block_rows, shard):
  return jax.nn.relu(20 - (composed * targets).sum(axis=-1) - bias).mean()


LOSS = Loss(hinge_loss, has_bias=True)
'''


class Neighbours:
  """A new data set's sampler: from each image to the next one."""

  triplets_per_item = 1

  def __init__(self, num_items):
    self.num_items = num_items

  def sample(self, item, make_rng):
    return [Triplet(item, (item + 1) % self.num_items, "brighter")]

  def texts(self):
    return ["brighter"]


class Greys(TableBuilder, skip_registration=True):
  """A new data set, in one builder: grey images, and the brighter one of each."""

  QUERY_SPLITS = ("test",)
  TEXT_QUERIES = ("modification",)
  OPTIONS: ClassVar = {"num_greys": whole_number(2)}
  PROTOCOLS: ClassVar = {"greys": Protocol("greys", recall_at=(1, 3), num_ranked=3)}

  def read_images(self, split):
    return [Image(f"{number}.png", str(number), self._draw(number)) for number in range(self.options["num_greys"])]

  def read_queries(self, split):
    return [Query(number, "brighter", "", str(number + 1)) for number in range(self.options["num_greys"] - 1)]

  @classmethod
  def sampler(cls, images, queries, text_query):
    return Neighbours(len(images))

  def _draw(self, number):
    buffer = io.BytesIO()
    PillowImage.fromarray(np.full((8, 8, 3), 20 * number, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def get_config() -> ml_collections.ConfigDict:
  """The new data set's configuration, of the new composer and the new loss, at a test's size."""
  config = base.get_config()
  config.model = models.get_config("image_only")
  config.model.composer = "offset"
  config.model.composer_options.scale = 0.5
  config.model.image_encoder.width, config.model.image_encoder.stage_sizes = 4, (1,)
  config.model.image_encoder.feature_dim = 8
  config.model.text_encoder.embedding_dim = config.model.text_encoder.feature_dim = 8
  config.loss = "hinge"
  config.protocol, config.best_metric = "greys", "R@3"
  config.data.dataset, config.data.num_greys = "greys", 6
  config.data.image_size, config.data.num_workers = 8, 0
  config.batch_size = config.eval.batch_size = 4
  config.num_train_steps = config.eval_every_steps = config.checkpoint_every_steps = 3
  config.log_every_steps = 1
  return config


@pytest.fixture
def added(monkeypatch, tmp_path):
  """Adds all three; the loss by its file alone, in a copy of the losses' package."""
  package = tmp_path / "losses_and_hinge"
  shutil.copytree(pathlib.Path(losses.__file__).parent, package)
  (package / "hinge.py").write_text(HINGE)
  monkeypatch.syspath_prepend(tmp_path)
  found = importlib.import_module("losses_and_hinge").LOSSES
  assert found.keys() - losses.LOSSES.keys() == {"hinge"}
  monkeypatch.setitem(losses.LOSSES, "hinge", found["hinge"])
  monkeypatch.setitem(COMPOSERS, "offset", Offset)
  monkeypatch.setitem(BUILDERS, "greys", Greys)
  # The table of protocols is made of the builders' when it is imported.
  monkeypatch.setitem(PROTOCOLS, "greys", Greys.PROTOCOLS["greys"])


def mistakes(config):
  with pytest.raises(InputError) as error:
    check_config(config, num_devices=1)
  return str(error.value).splitlines()


@pytest.mark.usefixtures("added")
def test_what_is_added_is_trained(tmp_path):
  config = get_config()
  config.data.prepared_dir = str(tmp_path / "prepared")
  train(config, tmp_path / "run")
  metrics = {}
  for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
    metrics |= json.loads(line)
  assert metrics["step"] == 3 and math.isfinite(metrics["train/main"]) and metrics["train/main"] > 0
  assert {"eval/R@1", "eval/R@3", "eval/image_only/R@3"} <= metrics.keys() and "eval/R@5" not in metrics


@pytest.mark.usefixtures("added")
def test_what_is_added_is_checked_by_what_it_declares():
  config = get_config()
  check_config(config, num_devices=1)
  config.model.composer_options.scale, config.model.composer_options.size = 0.0, 1
  config.model.image_encoder.feature_dim = 65
  config.data.num_greys = 1
  config.text_query, config.best_metric, config.protocol = "complete", "R@5", "greys"
  config.hard_negatives.every_steps, config.data.placement = 1, "device"
  assert sorted(mistakes(config)) == [
    "config.best_metric is 'R@5', expected one of R@1, R@3 (did you mean 'R@3'?)",
    "config.data.num_greys is 1, expected at least 2",
    "config.loss is 'hinge', expected batch_based_classification or info_nce or sigmoid or soft_triplet with "
    "config.hard_negatives.every_steps above 0",
    "config.model.composer_options.scale is 0.0, expected above 0",
    "config.model.composer_options.size is no option of offset, which has: scale",
    "config.model.image_encoder.feature_dim is 65, expected at most 64: offsets are small",
    "config.text_query is 'complete', expected modification: greys has no other",
  ]
