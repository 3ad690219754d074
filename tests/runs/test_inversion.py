"""Textual inversion: runs on images and captions alone, resumed, evaluated, exported, searched; and imports."""

import csv

import jax
import numpy as np
import pytest

from composeret_jax.export.bundle import export
from composeret_jax.pretrained.inversion import phi_slots
from composeret_jax.serving.bundle import load
from composeret_jax.serving.index.build import fill_index
from composeret_jax.serving.index.sources import folder_images
from composeret_jax.serving.searcher import Searcher
from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training.config.check import check_config
from composeret_jax.training.import_original import import_checkpoint
from composeret_jax.training.resume import newest_state, trained_state
from composeret_jax.training.run import open_run, open_trained_run
from composeret_jax.training.train import train
from configs import inversion, lincir, pic2word, searle
from configs.size_and_dataset import DATASETS
from data_pipelines.input_error import InputError
from tests.composeret_jax.export.test_bundle import unit
from tests.composeret_jax.training.test_train import losses
from tests.fakes import tiny, tiny_tower, torch_file

TEXT = {"pic2word": "* is {caption}", "lincir": "$ is {caption}", "searle": "$ is {caption}"}


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
  return tiny_tower.make(tmp_path_factory.mktemp("towers"))


@pytest.fixture
def small(towers, prepared, raw_mit_states, tmp_path):
  """The project's configurations, made small, on tiny towers and tiny data."""

  def made(composer, dataset):
    module = {"pic2word": pic2word, "lincir": lincir, "searle": searle}[composer]
    config = tiny_tower.use(module.get_config(f"base,{dataset}"), towers)
    config.data.update(prepared_dir=str(prepared), num_workers=0)
    config.eval.batch_size = 8
    if dataset in ("images", "captions"):
      config.update(batch_size=8, num_train_steps=4, num_warmup_steps=0, learning_rate=1e-3)
      config.update(checkpoint_every_steps=2, eval_every_steps=4, log_every_steps=1)
      config.decay = "step"  # a cosine ends with the run, which is made longer
      config.data.test_share = 0.4
    if dataset == "captions":
      config.data.captions = str(write_captions(tmp_path / "captions.csv"))
    else:
      config.data.dir = str(raw_mit_states)
    if dataset == "mit_states":
      config.text_template = TEXT[composer]
    check_config(config, num_devices=1)
    return config

  return made


def write_captions(path):
  with path.open("w", newline="") as file:
    out = csv.writer(file)
    out.writerow(["caption", "keywords"])
    out.writerows([f"{noun} is {adjective}", noun] for noun in tiny.NOUNS for adjective in tiny.ADJECTIVES)
  return path


def parameters(config, workdir):
  return newest_state(open_run(config, workdir)).variables.params


@pytest.mark.slow  # trainings, an export and an index
@pytest.mark.parametrize(("composer", "dataset"), [("pic2word", "images"), ("lincir", "captions")])
def test_trains_resumes_and_answers_from_a_bundle(composer, dataset, small, tmp_path, raw_mit_states):
  config = small(composer, dataset)
  train(config, tmp_path / "whole")
  config.num_train_steps = config.eval_every_steps = 2
  train(config, tmp_path / "resumed")
  config.num_train_steps = config.eval_every_steps = 4
  train(config, tmp_path / "resumed")
  assert losses(tmp_path / "resumed") == losses(tmp_path / "whole")
  whole, resumed = (parameters(config, tmp_path / name) for name in ("whole", "resumed"))
  assert whole.keys() == {"composer"}  # the towers are no part of what is trained and saved
  jax.tree.map(np.testing.assert_array_equal, whole, resumed)

  # On images and queries: the same features from the run and from its bundle.
  evaluated = small(composer, "mit_states")
  export(evaluated, tmp_path / "whole", tmp_path / "bundle")
  run = open_trained_run(evaluated, tmp_path / "whole")
  features = run.evaluator.features(evaluated_variables(trained_state(run)))
  bundle, queries = load(tmp_path / "bundle"), run.dataset.queries
  images = [run.dataset.gallery.encoded[row] for row in range(len(run.dataset.gallery))]
  np.testing.assert_allclose(bundle.encode(images), unit(features.images), atol=1e-5)
  references = [images[row] for row in queries.references]
  composed = bundle.compose(references, queries.captions)  # are put into the template
  np.testing.assert_allclose(composed, unit(features.composed), atol=1e-5)
  raw, norms = bundle.encode_with_norms(references)
  np.testing.assert_allclose(bundle.compose_features(raw, queries.captions, norms), composed, atol=1e-5)

  sources = folder_images(raw_mit_states / "images")
  fill_index(bundle, str(tmp_path / "index"), sources)
  found = Searcher.open(tmp_path / "bundle", tmp_path / "index").search(sources[0].id, "dark", k=3)
  expected = bundle.compose([sources[0].path], ["dark"]) @ bundle.encode([image.path for image in sources[1:]]).T
  np.testing.assert_allclose([result.score for result in found], -np.sort(-expected[0])[:3], atol=1e-5)


def test_texts_without_the_placeholder_are_refused(small, tmp_path):
  config = small("searle", "mit_states")
  config.text_template = ""
  with pytest.raises(
    InputError, match=r"12 of 12 texts have no '\$' .*: 'dark box', .*config\.text_template can add it"
  ):
    open_run(config, tmp_path / "run")


def test_two_towers_of_different_spaces_are_refused(small, tmp_path):
  config = small("searle", "mit_states")
  config.model.image_encoder.pretrained = str(tiny_tower.make(tmp_path / "siglip", "siglip"))
  config.data.update(resize="squash", interpolation="bilinear")
  with pytest.raises(InputError, match="features of images have 8 numbers, of texts 6, expected as many"):
    open_run(config, tmp_path / "run")


@pytest.mark.parametrize("composer", ["pic2word", "searle", "lincir"])
def test_a_published_checkpoint_is_imported(composer, small, tmp_path):
  config = small(composer, "mit_states")
  slots = phi_slots(open_run(config, tmp_path / "any").model.composer)
  rng = np.random.default_rng(0)
  tensors = {name: rng.normal(size=slot.shape).astype(np.float32) for name, slot in slots.items()}
  content = {"epoch": 1, "Phi": tensors}
  if composer == "pic2word":
    content = {"epoch": 1, "state_dict_img2text": {f"module.{name}": tensor for name, tensor in tensors.items()}}
  import_checkpoint(config, tmp_path / "run", torch_file.write(tmp_path / "phi.pt", content))
  run = open_run(config, tmp_path / "run")
  out = newest_state(run).variables.params["composer"]["phi"]["out"]["kernel"]
  name = "fc_out.weight" if composer == "pic2word" else "layers.6.weight"
  np.testing.assert_array_equal(out, tensors[name].T)
  other = torch_file.write(tmp_path / "other.pt", {"epoch": 1, "model": tensors})
  with pytest.raises(InputError, match=r"other\.pt holds epoch, model, expected a checkpoint with tensors under"):
    import_checkpoint(config, tmp_path / "second", other)


def test_captions_alone_need_a_composer_of_words(small):
  config = small("lincir", "captions")
  config.model = inversion.evaluated("lincir", "base", "cirr").model
  config.model.composer = "image_only"
  config.model.composer_options = {}
  with pytest.raises(
    InputError, match=r"composer is 'image_only', expected pic2word or searle or lincir, which can do"
  ):
    check_config(config, num_devices=1)


def test_the_towers_stay_as_they_are(small):
  config = small("lincir", "captions")
  config.model.text_encoder.fine_tune = True
  with pytest.raises(InputError, match=r"text_encoder\.fine_tune is True, expected False with a composer of words"):
    check_config(config, num_devices=1)


@pytest.mark.parametrize("module", [pic2word, searle, lincir])
def test_published_configurations(module):
  for dataset in DATASETS:
    config = module.get_config(f"large,{dataset}")
    assert "{" in config.text_template or config.text_template == config.model.composer
    with_reference = dataset == "circo" and module is not pic2word  # which has nothing published there
    assert (config.protocol == "circo_with_reference") == with_reference
    if dataset not in ("catalogue", "circo"):
      check_config(config, num_devices=1)
  with pytest.raises(ValueError, match="expected base or large, a comma"):
    module.get_config("small,cirr")
