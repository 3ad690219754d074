"""FashionIQ from the raw files to what an evaluation reports."""

import pytest

from composeret_jax.evaluation.report import results_picture, show_evaluation
from composeret_jax.export.gallery_images import gallery_images
from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from configs import fashion_iq
from tests.fakes import tiny_datasets


@pytest.fixture
def config(tmp_path):
  config = fashion_iq.get_config()
  config.data.dir = str(tiny_datasets.make_fashion_iq(tmp_path / "raw", without=("dress1",)))
  config.data.prepared_dir = str(tmp_path / "prepared")
  config.data.allow_missing_images = True
  config.data.image_size = 16
  config.data.num_workers = 0
  config.model.image_encoder.update(width=4, stage_sizes=(1,), feature_dim=16)
  config.model.text_encoder.update(embedding_dim=8, feature_dim=8)
  config.batch_size = 4
  config.eval.batch_size = 8
  return config


def test_every_result_says_what_was_left_out(config, tmp_path, capsys):
  run = open_run(config, tmp_path / "run")
  state = newest_state(run)
  evaluation = run.evaluator(evaluated_variables(state))
  metrics = evaluation.metrics
  assert metrics["num_missing_images"] == 1
  assert metrics["num_missing_queries"] == 2
  assert metrics["num_missing_train_queries"] == 0
  assert metrics["mean/R@10"] == metrics["headline"] == 1.0  # galleries are smaller than ten
  show_evaluation(0, evaluation, run.dataset)
  printed = capsys.readouterr().out
  assert "composed headline" in printed
  assert "num_missing_images 1, num_missing_queries 2" in printed
  assert results_picture(run.dataset, evaluation.ranks).shape[2] == 3  # small galleries leave ranks without an image


def test_an_image_of_two_categories_is_indexed_once(config):
  ids = [image.id for image in gallery_images(config)]
  names = {name for own in tiny_datasets.FASHION_IQ_GALLERIES.values() for name in own} - {"dress1"}
  assert sorted(ids) == sorted(f"images/{name}.png" for name in names)
