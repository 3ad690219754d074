"""Runs on image and text towers: frozen, fine-tuned, resumed, exported, and written back as folders."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.export.bundle import export
from composeret_jax.export.towers import save_towers
from composeret_jax.pretrained.files import read_tensors
from composeret_jax.serving.bundle import load
from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from composeret_jax.training.train import train
from configs import models
from data_pipelines.input_error import InputError
from tests.composeret_jax.export.test_bundle import check_equals_evaluation, unit
from tests.composeret_jax.training.test_train import losses
from tests.fakes import tiny_tower
from tests.fakes.slow import slow


@pytest.fixture
def tower_config(config):
  """A short run of a small model; `tiny_tower.use` gives it its towers."""
  simple = models.get_config("sum")
  config.model.composer, config.model.loss_weights = simple.composer, simple.loss_weights
  config.num_train_steps = 2
  return config


def fine_tuned(config):
  config.model.image_encoder.frozen = False
  config.model.text_encoder.fine_tune = True
  config.trunk_learning_rate_factor = 1.0
  return config


def features_of(run):
  state = newest_state(run)
  return run.evaluator.features(evaluated_variables(state))


@pytest.mark.slow  # two trainings and an export
@pytest.mark.parametrize("kind", ["clip", slow("siglip")])
def test_frozen_towers_train_resume_and_answer_from_a_bundle(tower_config, tmp_path, kind):
  folder = tiny_tower.make(tmp_path / "tower", kind)
  config = tiny_tower.use(tower_config, folder, kind)
  config.model.image_encoder.feature_dim = config.model.text_encoder.projection_dim = 6
  train(config, tmp_path / "run")
  config.num_train_steps = 3
  # Elsewhere, the same files are the same towers.
  moved = shutil.move(folder, tmp_path / "moved")
  config.model.image_encoder.pretrained = config.model.text_encoder.path = str(moved)
  train(config, tmp_path / "run")
  assert list(losses(tmp_path / "run")) == [1, 2, 3]
  run = open_run(config, tmp_path / "run")
  state = newest_state(run)
  params = state.variables.params
  assert set(params["image_encoder"]) == {"head"} and set(params["text_encoder"]) == {"projection"}
  features = features_of(run)

  export(config, tmp_path / "run", tmp_path / "bundle")
  bundle = load(tmp_path / "bundle")
  assert (bundle.resizing.resize, bundle.resizing.interpolation) == (config.data.resize, config.data.interpolation)
  config.model.image_encoder.frozen = False
  pixels = open_run(config, tmp_path / "other").dataset.gallery_pixels[np.arange(len(features.images))]
  np.testing.assert_allclose(bundle.encode(pixels), unit(features.images), atol=1e-5)
  queries = run.dataset.queries
  composed = bundle.compose(pixels[queries.references], queries.texts)
  np.testing.assert_allclose(composed, unit(features.composed), atol=1e-5)
  # An image of the raw files becomes the pixels that the towers were published for.
  shutil.rmtree(moved)
  encoded = run.dataset.gallery.encoded[0]
  np.testing.assert_allclose(bundle.encode([encoded]), unit(features.images)[:1], atol=1e-5)


@pytest.mark.slow  # a training and an export
@pytest.mark.parametrize("kind", ["clip", slow("siglip")])
def test_fine_tuned_towers_move_and_answer_from_a_bundle(tower_config, tmp_path, kind):
  config = fine_tuned(tiny_tower.use(tower_config, tiny_tower.make(tmp_path / "tower", kind), kind))
  config.model.image_encoder.remat = config.model.text_encoder.remat = True
  run = open_run(config, tmp_path / "run")
  before = newest_state(run).variables.params
  train(config, tmp_path / "run")
  run = open_run(config, tmp_path / "run")
  after = newest_state(run).variables.params
  for encoder, name in (("image_encoder", "patches"), ("text_encoder", "words")):
    old, new = (params[encoder]["trunk"]["embeddings"] for params in (before, after))
    assert max(jax.tree.leaves(jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), old[name], new[name]))) > 0
  export(config, tmp_path / "run", tmp_path / "bundle")
  check_equals_evaluation(load(tmp_path / "bundle"), run, features_of(run))


@pytest.mark.slow
def test_remat_changes_no_loss(tower_config, tmp_path):
  config = fine_tuned(tiny_tower.use(tower_config, tiny_tower.make(tmp_path / "tower")))
  train(config, tmp_path / "plain")
  config.model.image_encoder.remat = config.model.text_encoder.remat = True
  train(config, tmp_path / "remat")
  plain, remat = losses(tmp_path / "plain"), losses(tmp_path / "remat")
  assert list(remat.values()) == pytest.approx(list(plain.values()), rel=1e-5)


@pytest.mark.slow  # a training
def test_written_towers_are_what_was_trained(tower_config, tmp_path):
  folder = tiny_tower.make(tmp_path / "tower")
  config = fine_tuned(tiny_tower.use(tower_config, folder))
  config.data.image_size = 24  # positions of 2 x 2 patches become those of 3 x 3
  train(config, tmp_path / "run")
  save_towers(config, tmp_path / "run", tmp_path / "saved")
  expected = features_of(open_run(config, tmp_path / "run"))

  vision = json.loads((tmp_path / "saved" / "config.json").read_text())["vision_config"]
  assert vision == tiny_tower.VISION | {"image_size": 24}
  preprocessing = json.loads((tmp_path / "saved" / "preprocessor_config.json").read_text())
  assert preprocessing["crop_size"] == {"height": 24, "width": 24} and preprocessing["size"] == {"shortest_edge": 24}
  saved, original = (read_tensors(path, ("",)) for path in (tmp_path / "saved", folder))
  assert saved.keys() == original.keys()
  assert saved["vision_model.embeddings.position_embedding.weight"].shape == (10, 8)
  changed = {
    name for name in saved if saved[name].shape == original[name].shape and (saved[name] != original[name]).any()
  }
  assert {"text_projection.weight", "vision_model.encoder.layers.0.mlp.fc1.weight"} <= changed

  config.model.image_encoder.update(pretrained=str(tmp_path / "saved"), frozen=True)
  config.model.text_encoder.update(path=str(tmp_path / "saved"), fine_tune=False)
  run = open_run(config, tmp_path / "second")
  state = newest_state(run)
  found = run.evaluator.features(state.variables)
  np.testing.assert_allclose(found.images, expected.images, atol=1e-5)
  np.testing.assert_allclose(unit(found.composed), unit(expected.composed), atol=1e-5)
  with pytest.raises(InputError, match="no tower of this configuration is fine-tuned"):
    save_towers(config, tmp_path / "second", tmp_path / "nothing")


@pytest.mark.slow
def test_towers_of_two_folders_are_written_apart(tower_config, tmp_path):
  clip, siglip = (tiny_tower.make(tmp_path / kind, kind) for kind in ("clip", "siglip"))
  config = fine_tuned(tiny_tower.use(tower_config, clip))
  config.model.text_encoder.update(path=str(siglip), projection_dim=6)
  train(config, tmp_path / "run")
  save_towers(config, tmp_path / "run", tmp_path / "saved")
  kinds = [
    json.loads((tmp_path / "saved" / name / "config.json").read_text())["model_type"]
    for name in ("image_encoder", "text_encoder")
  ]
  assert kinds == ["clip", "siglip"]
  with pytest.raises(InputError, match="is there: it is not overwritten"):
    save_towers(config, tmp_path / "run", tmp_path / "saved")


def test_pixels_that_a_tower_was_not_made_for_are_refused(tower_config, tmp_path):
  config = tiny_tower.use(tower_config, tiny_tower.make(tmp_path / "tower", "siglip"), "clip")
  with pytest.raises(InputError, match=r"set --config\.data\.resize=squash --config\.data\.interpolation=bilinear$"):
    open_run(config, tmp_path / "run")


def test_other_files_do_not_resume(tower_config, tmp_path):
  folder = tiny_tower.make(tmp_path / "tower")
  config = tiny_tower.use(tower_config, folder)
  config.model.text_encoder.name = "lstm"
  config.model.image_encoder.feature_dim = config.model.text_encoder.feature_dim
  train(config, tmp_path / "run")
  preprocessing = json.loads((folder / "preprocessor_config.json").read_text())
  (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing | {"image_mean": [0.1, 0.1, 0.1]}))
  with pytest.raises(InputError, match="another trunk"):
    newest_state(open_run(config, tmp_path / "run"))
