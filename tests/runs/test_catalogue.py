"""A catalogue of one's own, from a folder of images to a search."""

import json

import numpy as np
import pytest

from composeret_jax import Searcher
from composeret_jax.export import bundle as export
from composeret_jax.serving.bundle import load
from composeret_jax.serving.index.build import fill_index
from composeret_jax.serving.index.sources import folder_images
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from composeret_jax.training.train import train
from configs import catalogue
from data_pipelines.input_error import InputError
from tests.data_pipelines.datasets.test_catalogue import write_csv
from tests.fakes import tiny_datasets


@pytest.fixture
def config(tmp_path):
  config = catalogue.get_config()
  config.data.dir = str(tiny_datasets.make_catalogue(tmp_path / "images"))
  config.data.prepared_dir = str(tmp_path / "prepared")
  config.data.image_size, config.data.num_workers = 16, 0
  config.model.image_encoder.update(width=4, stage_sizes=(1,), feature_dim=16)
  config.model.text_encoder.update(embedding_dim=8, feature_dim=8)
  config.batch_size, config.num_train_steps, config.eval.batch_size = 2, 2, 8
  return config


@pytest.mark.slow
def test_from_a_folder_and_rows_to_a_search(config, tmp_path, capsys):
  config.data.triplets = write_csv(tmp_path / "rows.csv", tiny_datasets.catalogue_triplets())
  train(config, tmp_path / "run")
  assert "2 queries, 7 images" in capsys.readouterr().out
  lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
  assert 0 <= lines[-1]["eval/R@1"] <= lines[-1]["eval/R@5"] <= lines[-1]["eval/R@10"] == 1
  export.export(config, tmp_path / "run", tmp_path / "bundle")
  fill_index(load(tmp_path / "bundle"), str(tmp_path / "index"), folder_images(tmp_path / "images"))
  found = Searcher.open(tmp_path / "bundle", tmp_path / "index").search(
    tiny_datasets.catalogue_name(3), ["make it red"]
  )
  assert {result.id for result in found} == {tiny_datasets.catalogue_name(i) for i in range(10) if i != 3}


def test_a_folder_alone_becomes_a_bundle_without_numbers(config, tmp_path, capsys):
  with pytest.raises(InputError, match="no training triplets; config.num_train_steps=0"):
    train(config, tmp_path / "run")
  config.num_train_steps = 0
  train(config, tmp_path / "run")
  assert "0 queries, 10 images" in capsys.readouterr().out
  run = open_run(config, tmp_path / "run")
  state = newest_state(run)
  features = run.evaluator.features(state.variables)
  assert (features.images.shape, features.composed.shape, features.text_only.shape) == ((10, 16), (0, 16), (0, 16))
  assert run.evaluator.count(features).metrics == {}
  export.export(config, tmp_path / "run", tmp_path / "bundle")
  images = [image.read() for image in folder_images(tmp_path / "images")]
  unit = features.gallery / np.linalg.norm(features.gallery, axis=1, keepdims=True)
  np.testing.assert_allclose(load(tmp_path / "bundle").encode(images), unit, atol=1e-5)
