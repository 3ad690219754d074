"""Which images are mined, and a run that mines."""

import json

from flax import nnx
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from composeret_jax.models.composers.baselines import ImageOnly
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.train_step.state import create_state
from composeret_jax.training.hard_negatives import NegativesMiner
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from composeret_jax.training.train import train
from data_pipelines.input_error import InputError

ANGLES = (0, 10, 25, 90)  # degrees
LABELS = ("a", "a", "b", "c")


class AsItIs(nnx.Module):
  def __call__(self, images):
    return images


@pytest.fixture
def mining(config):
  config.data.placement = "device"
  config.hard_negatives.every_steps = 3
  return config


def mined(config, num):
  """The table of images at ANGLES, by a model that takes them as they are."""
  config.hard_negatives.num = num
  images = np.stack([f(np.radians(ANGLES)) for f in (np.cos, np.sin)], axis=1) * np.array([[1], [9], [1], [2]])
  model = RetrievalModel(AsItIs(), AsItIs(), ImageOnly(2, 2, rngs=nnx.Rngs(0)))
  miner = NegativesMiner(model, LABELS, config)
  return miner.mine(create_state(model, optax.sgd(0.1), seed=0), jnp.asarray(images, jnp.float32)).negatives["rows"]


def test_the_nearest_images_of_another_label_are_mined_whatever_their_length(config):
  assert mined(config, 1).tolist() == [[2], [2], [1], [2]]
  assert mined(config, 2).tolist() == [[2, 3], [2, 3], [1, 0], [2, 1]]


def test_too_few_images_of_another_label_are_said(config):
  with pytest.raises(InputError, match=r"num is 3, but only 2 training images have another label than 'a'"):
    mined(config, 3)


def reports(workdir, name):
  lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  return {line["step"]: line[name] for line in lines if name in line}


@pytest.mark.slow
def test_a_run_resumed_between_two_minings_equals_an_uninterrupted_one_to_the_bit(mining, tmp_path):
  train(mining, tmp_path / "whole")
  mining.num_train_steps = 4
  train(mining, tmp_path / "parts")
  run = open_run(mining, tmp_path / "parts")
  table = newest_state(run).negatives
  labels = np.asarray(run.dataset.train_images.labels)
  assert (labels[np.asarray(table["rows"])[:, 0]] != labels).all()
  mining.num_train_steps = 8
  train(mining, tmp_path / "parts")
  whole = reports(tmp_path / "whole", "train/total")
  assert list(whole) == list(range(1, 9))
  assert reports(tmp_path / "parts", "train/total") == whole
  assert list(reports(tmp_path / "whole", "speed/mining_seconds")) == [1, 4, 7]


@pytest.mark.slow
def test_negatives_make_the_loss_larger_and_go_with_several_steps_a_call_and_skipping(mining, tmp_path):
  mining.hard_negatives.every_steps = mining.train.steps_per_call = 2
  mining.log_every_steps = 2
  mining.num_train_steps = 4
  mining.train.on_nonfinite = "skip"
  mining.model.loss_weights.rotational_symmetry = 0.0
  train(mining, tmp_path / "with")
  mining.hard_negatives.every_steps = 0
  train(mining, tmp_path / "without")
  larger, smaller = (reports(tmp_path / name, "train/main") for name in ("with", "without"))
  assert all(larger[step] > smaller[step] for step in (2, 4))
  assert list(reports(tmp_path / "with", "speed/mining_seconds")) == [2, 4]


def test_images_that_do_not_fit_the_devices_are_refused(mining, tmp_path):
  mining.data.device_memory_share = 1e-12
  with pytest.raises(InputError, match=r"hard_negatives are looked up there"):
    train(mining, tmp_path)
