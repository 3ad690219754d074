"""A frozen trunk: features in place of pixels."""

import json

from flax import nnx
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.models.encoders.resnet import ResNet
from composeret_jax.pretrained.image_encoder import trunk_sizes
from composeret_jax.pretrained.resnet import load_trunk
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from composeret_jax.training.train import train
from data_pipelines.input_error import InputError
from tests.fakes import tiny


@pytest.fixture
def frozen(config, tmp_path):
  """A tiny run on a frozen trunk of random weights."""
  file = tmp_path / "trunk.safetensors"
  tiny.write_trunk(config, file, seed=0)
  config.model.image_encoder.pretrained = str(file)
  config.model.image_encoder.frozen = True
  return config


def losses(workdir):
  lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  return [line["train/total"] for line in lines if "train/total" in line]


def test_features_and_head_are_the_whole_encoder(frozen, tmp_path):
  run = open_run(frozen, tmp_path / "run")
  sizes = trunk_sizes(frozen.model.image_encoder)
  whole = ResNet(**sizes, feature_dim=frozen.model.image_encoder.feature_dim, rngs=nnx.Rngs(0))
  load_trunk(frozen.model.image_encoder.pretrained, whole.trunk)
  nnx.update(whole.head, nnx.state(run.model.image_encoder.head))
  whole.eval()
  frozen.model.image_encoder.frozen = False
  pixels = open_run(frozen, tmp_path / "other").dataset.gallery_pixels[np.arange(5)]
  features = run.dataset.gallery_pixels[np.arange(5)]
  np.testing.assert_allclose(run.model.encode_images(jnp.asarray(features)), whole(jnp.asarray(pixels)), rtol=1e-5)


@pytest.mark.slow  # a training
def test_it_trains_and_keeps_no_trunk_in_its_state(frozen, tmp_path):
  train(frozen, tmp_path / "run")
  state = newest_state(open_run(frozen, tmp_path / "run"))
  assert int(state.step) == 8
  assert list(state.variables.params["image_encoder"]) == ["head"]


@pytest.mark.slow
def test_resident_features_train_alike(frozen, tmp_path):
  streamed, resident = tmp_path / "streamed", tmp_path / "resident"
  train(frozen, streamed)
  frozen.data.placement = "device"
  train(frozen, resident)
  assert losses(resident) == losses(streamed) and len(losses(resident)) == 8


def test_a_second_run_reads_what_the_first_has_encoded(frozen, tmp_path, capsys):
  frozen.data.prepared_dir = str(tmp_path / "prepared")

  def encodes():
    capsys.readouterr()
    features = open_run(frozen, tmp_path / "run").dataset.gallery_pixels[np.arange(5)]
    return "encode images" in capsys.readouterr().err, features

  encoded, features = encodes()
  assert encoded
  encoded, again = encodes()
  assert not encoded
  np.testing.assert_array_equal(again, features)
  tiny.write_trunk(frozen, tmp_path / "trunk.safetensors", seed=1)
  encoded, other = encodes()
  assert encoded and np.abs(other - features).max() > 0
  frozen.data.image_size = 24
  encoded, larger = encodes()
  assert encoded and np.abs(larger - other).max() > 0


@pytest.mark.slow
def test_another_trunk_does_not_resume(frozen, tmp_path):
  train(frozen, tmp_path / "run")
  tiny.write_trunk(frozen, tmp_path / "trunk.safetensors", seed=1)
  with pytest.raises(InputError, match="another trunk"):
    newest_state(open_run(frozen, tmp_path / "run"))


def test_what_cannot_be_frozen_is_refused(frozen, tmp_path):
  frozen.model.image_encoder.pretrained = ""
  frozen.augment.flip = True
  frozen.model.composer = "tirg_last_conv"
  frozen.model.loss_weights.update(image_reconstruction=0.0, text_reconstruction=0.0, rotational_symmetry=0.0)
  with pytest.raises(InputError) as error:
    train(frozen, tmp_path / "run")
  assert len(str(error.value).splitlines()) == 3
