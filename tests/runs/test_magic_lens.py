"""MagicLens from training to search: the gallery's images are composed with the empty text everywhere."""

import pickle

from flax import serialization, traverse_util
import jax
import numpy as np
import pytest

from composeret_jax.pretrained.magic_lens import model_slots
from composeret_jax.serving.index.build import fill_index
from composeret_jax.serving.index.sources import folder_images
from composeret_jax.serving.searcher import Searcher
from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training.config.check import check_config
from composeret_jax.training.import_original import import_checkpoint
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from composeret_jax.training.train import train
from configs import magic_lens, models
from configs.size_and_dataset import DATASETS
from data_pipelines.input_error import InputError
from data_pipelines.texts.templates import PRESETS
from tests.fakes import tiny_tower
from tests.fakes.exported import exported


@pytest.fixture
def config(config, tmp_path):
  """Two steps of a tiny MagicLens over tiny towers of CLIP."""
  own = models.get_config("magic_lens")
  config.model.composer, config.model.loss_weights = own.composer, own.loss_weights
  config.model.composer_options = own.composer_options
  config.model.composer_options.update(num_layers=1, num_heads=2)
  tiny_tower.use(config, tiny_tower.make(tmp_path / "tower"))
  config.data.update(resize="magic_lens", interpolation="bilinear")
  config.model.image_encoder.frozen = False
  config.model.text_encoder.update(fine_tune=True, unseen_id=0, plain_signs=True)
  return config


@pytest.mark.slow  # an export and an index
def test_a_bundle_its_index_and_a_search_follow_the_gallery_rule(config, tmp_path, raw_mit_states):
  bundle, run, features = exported(config, tmp_path)
  queries, images = run.dataset.queries, [run.dataset.gallery.encoded[row] for row in range(len(run.dataset.gallery))]
  gallery = features.gallery / np.linalg.norm(features.gallery, axis=1, keepdims=True)
  np.testing.assert_allclose(bundle.compose(images, [""] * len(images)), gallery, atol=1e-5)
  np.testing.assert_allclose(bundle.encode(images), gallery, atol=1e-5)
  assert not np.allclose(features.images, features.gallery, atol=0.1)
  composed = features.composed / np.linalg.norm(features.composed, axis=1, keepdims=True)
  references = [images[row] for row in queries.references]
  np.testing.assert_allclose(bundle.compose(references, queries.texts), composed, atol=1e-5)

  assert not bundle.composes_features
  sources = folder_images(raw_mit_states / "images")
  fill_index(bundle, str(tmp_path / "index"), sources)
  searcher = Searcher.open(tmp_path / "bundle", tmp_path / "index")
  found = searcher.search(sources[0].id, "light", 3)
  expected = bundle.compose([sources[0].path], ["light"]) @ bundle.encode([image.path for image in sources[1:]]).T
  np.testing.assert_allclose([result.score for result in found], -np.sort(-expected[0])[:3], atol=1e-5)


@pytest.mark.slow  # two trainings
def test_a_run_goes_on_to_the_bit(config, tmp_path):
  """With every query's own image as a negative: towers, composer and optimiser are those of a run that went on."""
  config.loss_reference_as_negative = True
  states = []
  for name, ends in (("whole", [3]), ("parts", [1, 3])):
    for config.num_train_steps in ends:
      train(config, tmp_path / name)
    state = newest_state(open_run(config, tmp_path / name))
    states.append((state.step, state.variables.params, state.optimizer_state))
  jax.tree.map(np.testing.assert_array_equal, *states)
  assert int(states[0][0]) == 3


def test_frozen_towers_give_the_same_gallery(config, tmp_path):
  galleries = []
  for name in ("whole", "frozen"):
    run = open_run(config, tmp_path / name)
    galleries.append(run.evaluator.features(evaluated_variables(newest_state(run))).gallery)
    config.model.image_encoder.frozen, config.model.text_encoder.fine_tune = True, False
  np.testing.assert_allclose(*galleries, atol=1e-4)


def checkpoint(run, path):
  """Random weights in a file as published."""
  rng = np.random.default_rng(0)
  slots = model_slots(run.model)
  arrays = {name: rng.normal(0, 0.2, slot.shape).astype(np.float32) for name, slot in slots.items()}
  nested = traverse_util.unflatten_dict(arrays, sep="/")
  path.write_bytes(pickle.dumps(serialization.msgpack_serialize(nested), protocol=4))
  return arrays


def test_a_published_checkpoint_is_imported(config, tmp_path):
  arrays = checkpoint(open_run(config, tmp_path / "any"), tmp_path / "magic_lens.pkl")
  import_checkpoint(config, tmp_path / "run", tmp_path / "magic_lens.pkl")
  variables = newest_state(open_run(config, tmp_path / "run")).variables
  np.testing.assert_array_equal(
    variables.params["composer"]["pool"]["query"], arrays["params/contrastive_multimodal_pooler/pooling_attn_query"]
  )
  words = variables.params["text_encoder"]["trunk"]["embeddings"]["words"]
  np.testing.assert_array_equal(words, arrays["params/clip/text/token_embedding/embedding"])
  with pytest.raises(InputError, match="is there already"):
    import_checkpoint(config, tmp_path / "run", tmp_path / "magic_lens.pkl")


def test_a_checkpoint_of_another_size_is_refused_with_its_names(config, tmp_path):
  checkpoint(open_run(config, tmp_path / "any"), tmp_path / "magic_lens.pkl")
  config.model.composer_options.num_layers = 2
  with pytest.raises(InputError, match="missing: params/multimodal_encoder/x_layers_1/layer_norm/scale"):
    import_checkpoint(config, tmp_path / "run", tmp_path / "magic_lens.pkl")


def test_frozen_towers_cannot_be_filled(config, tmp_path):
  checkpoint(open_run(config, tmp_path / "any"), tmp_path / "magic_lens.pkl")
  config.model.image_encoder.frozen = True
  with pytest.raises(InputError, match="frozen=False"):
    import_checkpoint(config, tmp_path / "run", tmp_path / "magic_lens.pkl")


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("size", magic_lens.CLIP)
def test_published_configurations(size, dataset):
  config = magic_lens.get_config(f"{size},{dataset}")
  check_config(config, num_devices=1)
  assert config.model.composer_options.num_heads == (16 if size == "large" else 8)
  assert config.text_template == ("magic_lens" if dataset in PRESETS["magic_lens"] else "")
  with pytest.raises(ValueError, match="expected base or large, a comma"):
    magic_lens.get_config("small")
