"""BGE-VL's queries: the sum of raw features over a folder of CLIP's towers, evaluated and trained with negatives."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training.config.check import check_config
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from composeret_jax.training.train import evaluate, train
from configs import bge_vl
from configs.size_and_dataset import DATASETS
from data_pipelines.texts.templates import PRESETS
from tests.fakes import tiny_datasets, tiny_tower


@pytest.fixture
def config(tmp_path):
  """The configuration for a catalogue, on tiny towers; half of its rows are trained on."""
  config = bge_vl.get_config("base,catalogue")
  rows = [row | {"negatives": [row["reference"]]} for row in tiny_datasets.catalogue_triplets()]
  (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  config.data.triplets = str(tmp_path / "rows.jsonl")
  config.data.dir = str(tiny_datasets.make_catalogue(tmp_path / "images"))
  config.data.prepared_dir = str(tmp_path / "prepared")
  config.data.num_workers = 0
  config.data.image_size = tiny_tower.IMAGE_SIZE
  folder = str(tiny_tower.make(tmp_path / "tower"))
  config.model.image_encoder.pretrained = config.model.text_encoder.path = folder
  config.batch_size = config.eval.batch_size = 4
  return config


def test_a_query_is_the_sum_of_raw_features_and_the_gallery_is_the_images(config, tmp_path):
  run = open_run(config, tmp_path / "run")
  features = run.evaluator.features(evaluated_variables(newest_state(run)))
  model, dataset = run.model, run.dataset
  images = np.asarray(model.image_encoder.trunk(jnp.asarray(dataset.gallery_pixels[np.arange(len(dataset.gallery))])))
  texts = np.asarray(model.text_encoder.trunk(jnp.asarray(run.texts.reader.encode(dataset.queries.texts))))
  query = images[dataset.queries.references] + texts
  for found, expected in ((features.composed, query), (features.gallery, images)):
    expected = config.model.radius * expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_it_trains_with_given_negatives_and_is_evaluated_on_circo(config, tmp_path):
  config.num_train_steps, config.num_warmup_steps, config.log_every_steps = 2, 1, 1
  config.eval_every_steps = config.checkpoint_every_steps = 2
  train(config, tmp_path / "run")
  lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
  assert [line["step"] for line in lines if "train/main" in line] == [1, 2]

  # What was fine-tuned is evaluated where there is nothing to train on, under the published text.
  on_circo = bge_vl.get_config("base,circo")
  assert on_circo.model.image_encoder.frozen
  on_circo.data.update(dir=str(tiny_datasets.make_circo(tmp_path / "circo")), image_size=config.data.image_size)
  on_circo.data.update(prepared_dir=config.data.prepared_dir, num_workers=0)
  on_circo.model.image_encoder.pretrained = on_circo.model.text_encoder.path = config.model.text_encoder.path
  evaluate(on_circo, tmp_path / "run")
  found = json.loads((tmp_path / "run" / "eval.json").read_text())
  (split,) = found["splits"].values()
  assert (found["step"], split["texts"]) == (2, "Find a picture that also {shared_concept}, but {caption}.")


@pytest.mark.parametrize("dataset", sorted(DATASETS.keys() - {"catalogue"}))
def test_configurations(dataset):
  config = bge_vl.get_config(f"base,{dataset}")
  check_config(config, num_devices=1)
  assert not config.text_template or dataset in PRESETS[config.text_template]
  assert config.model.image_encoder.frozen == (not config.num_train_steps)


def test_an_unknown_configuration():
  with pytest.raises(ValueError, match="expected base or large, a comma"):
    bge_vl.get_config("base")
