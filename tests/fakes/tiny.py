"""A data set of a few images and a model of a few weights: everything end to end in seconds."""

import pathlib

from flax import nnx
import ml_collections
import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from composeret_jax.models.encoders.resnet import ResNet
from composeret_jax.pretrained.image_encoder import trunk_sizes
from composeret_jax.pretrained.resnet import trunk_slots
from configs import mit_states

ADJECTIVES = {"dark": 40, "medium": 120, "light": 220}
NOUNS = ("box", "cat", "hat", "horse", "sky")  # the last two are test nouns


def make_mit_states(folder: pathlib.Path, images_per_pair: int = 2) -> pathlib.Path:
  """A folder laid out as MIT-States: noisy grey images, brighter for lighter adjectives."""
  rng = np.random.default_rng(0)
  for noun in NOUNS:
    for adjective, level in ADJECTIVES.items():
      directory = folder / "images" / f"{adjective} {noun}"
      directory.mkdir(parents=True)
      for i in range(images_per_pair):
        pixels = np.clip(level + rng.normal(0, 20, (20, 24, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(directory / f"{i}.jpg")
  return folder


def config(raw_folder: pathlib.Path, prepared_folder: pathlib.Path) -> ml_collections.ConfigDict:
  """MIT-States' configuration, made tiny."""
  config = mit_states.get_config()
  config.data.dir = str(raw_folder)
  config.data.prepared_dir = str(prepared_folder)
  config.data.image_size = 16
  config.data.num_workers = 0
  config.model.image_encoder.width = 4
  config.model.image_encoder.stage_sizes = (1,)
  config.model.image_encoder.feature_dim = 16
  config.model.text_encoder.embedding_dim = 8
  config.model.text_encoder.feature_dim = 8
  config.batch_size = 8
  config.num_train_steps = 8
  config.log_every_steps = 1
  config.checkpoint_every_steps = 4
  config.eval.batch_size = 8
  return config


def write_trunk(config: ml_collections.ConfigDict, file: pathlib.Path, seed: int) -> None:
  """Random weights of the configuration's trunk."""
  rng = np.random.default_rng(seed)
  slots = trunk_slots(ResNet(**trunk_sizes(config.model.image_encoder), feature_dim=1, rngs=nnx.Rngs(0)).trunk)
  values = {name: rng.uniform(-0.2, 0.2, slot.shape) + name.endswith("running_var") for name, slot in slots.items()}
  save_file({name: value.astype(np.float32) for name, value in values.items()}, file)
