"""MagicLens, Pic2Word and LinCIR on a tiny CLIP: killed, resumed, exported, served; and the recall that is gained."""

import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from benchmarks import tiny_clip
from composeret_jax.export.bundle import export
from composeret_jax.export.towers import save_towers
from composeret_jax.serving.bundle import load
from composeret_jax.serving.index.build import fill_index
from composeret_jax.serving.index.sources import folder_images
from composeret_jax.serving.searcher import Searcher
from composeret_jax.serving.service.app import build_app
from composeret_jax.serving.service.limits.upload_folder import UploadFolder
from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training.resume import newest_state, trained_state
from composeret_jax.training.run import open_run, open_trained_run
from composeret_jax.training.train import train
from configs import catalogue, lincir, mit_states, pic2word
from tests.composeret_jax.training.test_train import losses
from tests.fakes import patterned_states
from tests.fakes.served import ask, served

INVERSION = {"pic2word": (pic2word, "images", "*"), "lincir": (lincir, "captions", "$")}
NUM_STEPS, KILLED_AT, SAVED_AT = 12, 9, 5

pytestmark = pytest.mark.slow  # whole runs, and processes of their own


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
  """states/ with pictures, captions.csv and random_clip/."""
  folder = tmp_path_factory.mktemp("corpus")
  tiny_clip.write(patterned_states.make(folder / "states") / "images", folder)
  return folder


@pytest.fixture(scope="module")
def made(corpus):
  """A function: the configuration made small, over the CLIP of a folder."""

  def small(config, clip, **fields):
    config.data.update(image_size=tiny_clip.PIXELS, interpolation="bicubic", num_workers=0)
    config.data.prepared_dir = str(corpus / "prepared")
    config.model.image_encoder.update(name="tower", pretrained=str(clip), feature_dim=0)
    config.model.text_encoder.update(name="tower", path=str(clip))
    config.update(optimizer="adamw", learning_rate=1e-3, batch_size=32, num_warmup_steps=0, log_every_steps=1)
    config.update(num_train_steps=NUM_STEPS, eval_every_steps=1_000, checkpoint_every_steps=SAVED_AT, **fields)
    return config

  return small


@pytest.fixture(scope="module")
def trained_on(corpus, made):
  """A function: what a model trains on, with a CLIP."""

  def config_of(model, clip):
    if model == "magic_lens":
      config = made(mit_states.get_config(model), clip, loss_reference_as_negative=True)
      config.data.update(dir=str(corpus / "states"), resize="magic_lens", interpolation="bilinear")
      config.model.text_encoder.update(fine_tune=True, unseen_id=0, plain_signs=True)
      config.model.composer_options.update(num_layers=1, num_heads=2)
      return config
    module, dataset, placeholder = INVERSION[model]
    config = made(module.get_config(f"base,{dataset}"), clip)
    if model == "pic2word":
      config.data.update(dir=str(corpus / "states" / "images"), prompt=placeholder, test_share=0.1)
    else:
      config.data.update(captions=str(corpus / "captions.csv"), test_share=0.1)
    return config

  return config_of


@pytest.fixture(scope="module")
def asked_on(corpus, made, trained_on):
  """A function: the data set with images and queries on which a model is evaluated and exported."""

  def config_of(model, clip):
    if model == "magic_lens":
      return trained_on(model, clip)
    module, _, placeholder = INVERSION[model]
    config = made(module.get_config("base,mit_states"), clip, text_template=f"{{caption}} {placeholder}")
    config.data.dir = str(corpus / "states")
    return config

  return config_of


def state_of(config, workdir):
  state = newest_state(open_run(config, workdir))
  return state.step, state.variables, state.optimizer_state


@pytest.mark.parametrize("model", ["magic_lens", *INVERSION])
def test_a_killed_run_goes_on_to_the_bit_and_its_bundle_is_served(model, corpus, trained_on, asked_on, tmp_path):
  config = trained_on(model, corpus / "random_clip")
  train(config, tmp_path / "whole")
  (tmp_path / "config.json").write_text(config.to_json())
  killed = [sys.executable, "-m", "tests.fakes.killed_at_step", tmp_path / "config.json", tmp_path / "killed"]
  ended = subprocess.run([*killed, str(KILLED_AT)], capture_output=True, text=True, timeout=300)
  assert ended.returncode == -signal.SIGKILL, ended.stderr[-2000:]
  assert KILLED_AT - 2 <= max(losses(tmp_path / "killed")) < NUM_STEPS
  train(config, tmp_path / "killed")
  assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
  jax.tree.map(np.testing.assert_array_equal, *(state_of(config, tmp_path / name) for name in ("whole", "killed")))

  export(asked_on(model, corpus / "random_clip"), tmp_path / "killed", tmp_path / "bundle")
  bundle, sources = load(tmp_path / "bundle"), folder_images(corpus / "states" / "images")
  fill_index(bundle, str(tmp_path / "index"), sources)
  searcher = Searcher.open(tmp_path / "bundle", tmp_path / "index")
  with served(build_app(searcher, uploads=UploadFolder(tmp_path / "uploads"))) as address:
    status, _, answer = ask(address, "/v1/search", {"image": sources[0].id, "texts": ["red"], "limit": 5})
  assert status == 200
  scores = bundle.compose([sources[0].path], ["red"]) @ bundle.encode([image.path for image in sources[1:]]).T
  np.testing.assert_allclose([found["score"] for found in answer["results"]], -np.sort(-scores[0])[:5], atol=1e-5)


@pytest.fixture(scope="module")
def learnt_clip(corpus, made, tmp_path_factory):
  """The random CLIP after it has learnt which caption is of which image, as docs/models.md teaches it."""
  config = made(catalogue.get_config("text_only"), corpus / "random_clip", text_query="complete", loss_label_mask=True)
  config.data.update(dir=str(corpus / "states" / "images"), captions=str(corpus / "captions.csv"), test_share=0.1)
  config.model.text_encoder.fine_tune = True
  config.update(trunk_learning_rate_factor=1.0, num_train_steps=150)
  workdir = tmp_path_factory.mktemp("clip")
  train(config, workdir)
  save_towers(config, workdir, corpus / "clip")
  return corpus / "clip"


def composed_recall(config, workdir):
  run = open_trained_run(config, workdir)
  return run.evaluator(evaluated_variables(trained_state(run))).metrics["R@1"]


@pytest.mark.parametrize("model", INVERSION)
def test_composed_recall_after_training_is_above_that_of_the_untrained_phi(
  model, learnt_clip, trained_on, asked_on, tmp_path
):
  config, queries = trained_on(model, learnt_clip), asked_on(model, learnt_clip)
  recalls = []
  for config.num_train_steps in (0, 150):
    workdir = tmp_path / str(config.num_train_steps)
    train(config, workdir)
    recalls.append(composed_recall(queries, workdir))
  untrained, trained = recalls
  assert untrained < 0.4 and trained > untrained + 0.1, recalls
