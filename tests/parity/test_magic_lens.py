"""MagicLens: pixels, towers, layers, pooling and checkpoint against the original program."""

import json
import os
import pathlib

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from composeret_jax.models.composers.magic_lens import MagicLens
from composeret_jax.models.encoders.projected import ProjectedImageEncoder, ProjectedTextEncoder
from composeret_jax.models.encoders.text_tower import ClipText, NO_END, TextTowerConfig
from composeret_jax.models.encoders.transformer import DEFAULT_COMPUTE
from composeret_jax.models.encoders.vit import ClipVit, Colours, VitConfig
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.pretrained.magic_lens import model_slots, read_magic_lens
from composeret_jax.pretrained.slots import fill
from data_pipelines.pixels.decode import magic_lens_pixels, Resizing, square_pixels
from tests.parity import golden

COLOURS = Colours((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
SIZES = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
STAGE, UNIT = 3e-5, 3e-6


@pytest.fixture(scope="module")
def numbers():
  return golden.load("zero_shot/magic_lens")


@pytest.fixture(scope="module")
def config(numbers):
  return json.loads(str(numbers["config"]))


def build(config, empty_text):
  clip = config["clip"]
  vision, text = clip["vision_features"], clip["text_features"]
  vit = ClipVit(
    VitConfig(
      hidden_size=vision,
      intermediate_size=4 * vision,
      num_hidden_layers=clip["vision_num_layers"],
      num_attention_heads=clip["vision_num_heads"],
      image_size=clip["image_resolution"],
      patch_size=clip["vision_patch_size"],
      **SIZES,
    ),
    clip["embed_dim"],
    COLOURS,
    DEFAULT_COMPUTE,
    rngs=nnx.Rngs(0),
  )
  tower = ClipText(
    TextTowerConfig(
      hidden_size=text,
      intermediate_size=4 * text,
      num_hidden_layers=clip["text_num_layers"],
      num_attention_heads=clip["text_num_heads"],
      vocab_size=clip["vocab_size"],
      max_position_embeddings=clip["max_text_length"],
      **SIZES,
    ),
    clip["embed_dim"],
    NO_END,
    DEFAULT_COMPUTE,
    rngs=nnx.Rngs(0),
  )
  tower.unseen_id = 0
  dim = config["embed_dim"]
  composer = MagicLens(dim, dim, num_layers=config["num_layers"], num_heads=config["num_heads"], rngs=nnx.Rngs(0))
  encoders = ProjectedImageEncoder(vit, 0, rngs=nnx.Rngs(0)), ProjectedTextEncoder(tower, 0, rngs=nnx.Rngs(0))
  return RetrievalModel(*encoders, composer, radius=1.0, train_radius=False, empty_text=empty_text)


@pytest.fixture(scope="module")
def model(numbers, config):
  """The original's weights; read from the checkpoint, which holds them."""
  empty = numbers["tokenizer/ids_truncated"][0]
  model = build(config, tuple(empty[:2].tolist()))
  fill(golden.under(numbers, "param/"), model_slots(model))
  model.eval()
  return model


def close(ours, theirs, limit):
  assert ours.shape == theirs.shape
  assert np.abs(np.asarray(ours) - theirs).max() < limit


@pytest.mark.parametrize("name", ["odd0", "odd1", "black", "big"])
def test_pixels(numbers, name, config):
  image = Image.fromarray(numbers[f"pixels/{name}/uint8"])
  size = config["clip"]["image_resolution"]
  key = f"pixels/{name}/processed_224"
  if key in numbers:
    close(magic_lens_pixels(image, 224), numbers[key], STAGE)
  else:
    close(magic_lens_pixels(image, 224)[::4, ::4], numbers[f"{key}_every_4th"], STAGE)
  values = magic_lens_pixels(image, size)
  normalised = (values - np.float32(COLOURS.mean)) / np.float32(COLOURS.std)
  close(normalised, numbers[f"pixels/{name}/clip_input_{size}"], STAGE)
  stored = square_pixels(image, size, Resizing("magic_lens"))
  assert np.abs(stored / 255 - values).max() <= 0.5 / 255 + 1e-6


def image_features_of(model, pixels):
  vit = model.image_encoder.trunk
  return vit.projection(vit.norm(vit.states_of(pixels)[:, 0]))


@pytest.fixture(scope="module")
def pixels(numbers):
  (pixels,) = golden.under(numbers, "in/").values()
  return jnp.asarray(pixels)


@pytest.fixture(scope="module")
def image_features(model, pixels):
  return image_features_of(model, pixels)


@pytest.mark.parametrize("side", ["query", "gallery"])
def test_stages(numbers, model, image_features, side):
  """Each from what the original gave before it: errors of rounding grow along the way, as logits are up to 80."""
  expected = golden.under(numbers, f"{side}/")
  close(image_features, expected["image_embed"], STAGE)
  close(model.encode_texts(jnp.asarray(expected["ids"])), expected["text_embed"], STAGE)
  tokens = jnp.asarray(expected["tokens"])
  for i, layer in enumerate(model.composer.layers):
    normed = layer.attention_norm(tokens)
    close(layer.attention.weights(normed, normed), expected[f"fusion_layer_{i}_attention"], STAGE)
    close(layer.attention(normed, normed), expected[f"fusion_layer_{i}_self_attention_out"], STAGE)
    close(layer(tokens), expected[f"fusion_layer_{i}"], STAGE)
    tokens = jnp.asarray(expected[f"fusion_layer_{i}"])
  pool = model.composer.pool
  queries = jnp.broadcast_to(pool.query[...], (len(tokens), *pool.query.shape))
  close(pool.attention.weights(queries, tokens), expected["pool_attention"], STAGE)
  close(pool.attention(queries, tokens), expected["pool_attn_out"], STAGE)
  close(pool(tokens), expected["multimodal_embed"], STAGE)


# As programs are compiled outside tests: the tests' quick compilation rounds twice where the processor could once.
COMPILED = {"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True}


@pytest.fixture(scope="module")
def unit_features(numbers, model, pixels):
  """Of queries and gallery, from the pictures on."""

  def features(pixels, ids):
    images = image_features_of(model, pixels)
    query = model.compose(images, model.encode_texts(ids))
    return model.on_sphere(query), model.on_sphere(model.compose_targets(images))

  return jax.jit(features, compiler_options=COMPILED)(pixels, jnp.asarray(numbers["query/ids"]))


def test_the_composer_from_clips_features(numbers, model):
  for side in ("query", "gallery"):
    expected = golden.under(numbers, f"{side}/")
    composed = model.compose(jnp.asarray(expected["image_embed"]), jnp.asarray(expected["text_embed"]))
    close(model.on_sphere(composed), expected["multimodal_embed_norm"], UNIT)


def test_the_whole_way(numbers, unit_features):
  """In float64 the same way ends 1.7e-6 from the original, whose own rounding grows along it too.

  Where a processor rounds each product before it is added (x86 before AVX2) the gallery ends 4.2e-6 from it.
  """
  for features, side in zip(unit_features, ("query", "gallery"), strict=True):
    close(features, numbers[f"{side}/multimodal_embed_norm"], UNIT)


def test_similarities(numbers, unit_features):
  query, gallery = map(np.asarray, unit_features)
  similarity = query @ gallery.T
  close(similarity, numbers["similarity"], 5 * UNIT)  # sums of 64 products
  order = np.argsort(-similarity, axis=1)
  found = np.take_along_axis(numbers["similarity"], order, 1)
  expected = np.take_along_axis(numbers["similarity"], numbers["top_indices_best_first"], 1)
  np.testing.assert_array_equal(found, expected)  # equal pictures tie, in any order


def test_the_published_file_is_read(numbers):
  path = pathlib.Path(os.environ["COMPOSERET_GOLDEN"]) / "zero_shot" / "magic_lens_tiny.pkl"
  arrays, expected = read_magic_lens(path), golden.under(numbers, "param/")
  assert arrays.keys() == expected.keys()
  for name, array in arrays.items():
    np.testing.assert_array_equal(array, expected[name].astype(np.float32), err_msg=name)


PUBLISHED = {
  "base": ((768, 12, 12, 16), (512, 12, 8), 512, 8),
  "large": ((1024, 24, 16, 14), (768, 12, 12), 768, 16),
}


@pytest.mark.parametrize("size", PUBLISHED)
def test_the_published_sizes_have_the_published_names(numbers, size):
  path = pathlib.Path(os.environ["COMPOSERET_GOLDEN"]) / "zero_shot" / "magic_lens_keys.json"
  expected = json.loads(path.read_text())[size]
  (vision, vision_layers, vision_heads, patch), (text, text_layers, text_heads), dim, heads = PUBLISHED[size]
  clip = {
    "embed_dim": dim,
    "vocab_size": 49_408,
    "vision_num_layers": vision_layers,
    "vision_features": vision,
    "vision_patch_size": patch,
    "text_features": text,
    "text_num_heads": text_heads,
    "text_num_layers": text_layers,
    "image_resolution": 224,
    "vision_num_heads": vision_heads,
    "max_text_length": 77,
  }
  config = {"embed_dim": dim, "num_layers": 4, "num_heads": heads, "clip": clip}
  shapes = {}

  def build_only():
    model = build(config, ())
    shapes.update({name: list(slot.shape) for name, slot in model_slots(model).items()})
    return model

  jax.eval_shape(lambda: nnx.state(build_only()))
  assert shapes == expected
