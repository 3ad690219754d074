"""CLIP4Cir's two stages as configurations, and as runs on a tiny FashionIQ with towers of a few weights."""

import numpy as np
import pytest

from composeret_jax.export.towers import save_towers
from composeret_jax.pretrained.files import read_safetensors, WEIGHTS
from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from composeret_jax.training.train import train
from configs import clip4cir_combiner, clip4cir_finetune
from tests.fakes import tiny_datasets, tiny_tower

STAGES = {"finetune": clip4cir_finetune, "combiner": clip4cir_combiner}


def test_the_first_stage_trains_the_towers_and_the_second_keeps_them():
  for stage, trained in (("finetune", True), ("combiner", False)):
    model = STAGES[stage].get_config("stage1/towers").model
    assert model.image_encoder.pretrained == model.text_encoder.path == "stage1/towers"
    assert model.image_encoder.frozen is not trained and model.text_encoder.fine_tune is trained
    assert not model.image_encoder.feature_dim and not model.text_encoder.projection_dim
    assert (model.radius, model.train_radius) == (10.0, False)


@pytest.fixture
def tiny_stage(tmp_path):
  """A stage's configuration on FashionIQ's three categories, for the towers in a folder."""
  raw = tiny_datasets.make_fashion_iq(tmp_path / "raw")

  def config(stage, towers):
    config = STAGES[stage].get_config(str(towers))
    config.data.update(dir=str(raw), prepared_dir=str(tmp_path / "prepared"), num_workers=0)
    config.data.image_size = tiny_tower.IMAGE_SIZE
    config.train.steps_per_call = 1
    config.update(batch_size=4, num_train_steps=2, num_warmup_steps=0, log_every_steps=1)
    config.eval.batch_size = 8
    return config

  return config


@pytest.mark.slow
def test_the_combiner_learns_on_the_towers_that_the_first_stage_wrote(tiny_stage, tmp_path):
  published = tiny_tower.make(tmp_path / "clip")
  first = tiny_stage("finetune", published)
  first.learning_rate = 0.01
  train(first, tmp_path / "first")
  save_towers(first, tmp_path / "first", tmp_path / "tuned")
  before, after = (read_safetensors(folder / WEIGHTS) for folder in (published, tmp_path / "tuned"))
  assert before.keys() == after.keys()
  assert any(np.abs(after[name] - before[name]).max() > 1e-3 for name in before)

  second = tiny_stage("combiner", tmp_path / "tuned")
  train(second, tmp_path / "second")
  run = open_run(second, tmp_path / "second")
  metrics = run.evaluator(evaluated_variables(newest_state(run))).metrics
  assert {"dress/R@10", "shirt/R@50", "toptee/R@10", "headline"} <= metrics.keys()
  by_first = open_run(first, tmp_path / "first")
  images = by_first.evaluator.features(newest_state(by_first).variables).gallery
  tuned = run.evaluator.features(newest_state(run).variables).gallery
  np.testing.assert_allclose(tuned, images, atol=1e-4)  # features of the tables are those of the tuned tower
