"""Image and text towers against transformers' PyTorch models on random weights, and at published sizes."""

import functools
import json

from flax import nnx
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from PIL import Image
import pytest

from composeret_jax.export.towers import Trained, write_folder
from composeret_jax.models.encoders.text_tower import NO_END
from composeret_jax.models.encoders.transformer import DEFAULT_COMPUTE
from composeret_jax.models.encoders.vit import Colours
from composeret_jax.pretrained.hub.config import with_defaults
from composeret_jax.pretrained.hub.tokenizer import read_pieces
from composeret_jax.pretrained.towers.tower_folder import (
  build_image_tower,
  IMAGE_FAMILIES,
  load_text_tower,
  open_image_folder,
  open_text_folder,
  part_of,
  TEXT_FAMILIES,
)
from data_pipelines.pixels.decode import Resizing, square_pixels
from tests.fakes import tiny_tower

TOLERANCE = 2e-4
VISION = {
  "hidden_size": 24,
  "intermediate_size": 40,
  "num_hidden_layers": 3,
  "num_attention_heads": 3,
  "image_size": 30,
  "patch_size": 7,  # does not divide the image: 4 x 4 patches
}
TEXT = {k: v for k, v in VISION.items() if k not in ("image_size", "patch_size")} | {
  "vocab_size": len(tiny_tower.CLIP_TOKENS),
  "max_position_embeddings": tiny_tower.MAX_LENGTH,
}
END = len(tiny_tower.CLIP_TOKENS) - 1
TEXTS = ["dark box", "Is black, and LONG it's", "", "light " * 30, "naïve 42 sleeves"]


@pytest.fixture(scope="module")
def torch():
  return pytest.importorskip("torch", reason="the reference is a PyTorch model")


@pytest.fixture(scope="module")
def transformers():
  return pytest.importorskip("transformers", reason="the reference is its models")


def randomised(torch, model):
  """Weights large enough that every part of the model shows."""
  torch.manual_seed(0)
  with torch.no_grad():
    for name, parameter in model.named_parameters():
      parameter.copy_(torch.randn_like(parameter) * 0.3 + ("norm" in name and name.endswith("weight")))
  return model.eval()


def reference(kind, torch, transformers, **changes):
  """A small random model of the kind."""
  vision, text = VISION | changes.get("vision", {}), TEXT | changes.get("text", {})
  if kind == "clip":
    width = {"projection_dim": 10}
    config = transformers.CLIPConfig(vision_config=vision | width, text_config=text | width, **width)
    return randomised(torch, transformers.CLIPModel(config))
  if kind == "siglip":
    config = transformers.SiglipConfig(vision_config=vision, text_config=text | {"projection_size": 20})
    return randomised(torch, transformers.SiglipModel(config))
  fields = {name: value for name, value in vision.items() if name != "intermediate_size"}
  return randomised(torch, transformers.Dinov2Model(transformers.Dinov2Config(**fields, mlp_ratio=2)))


@pytest.fixture(scope="module")
def saved(torch, transformers, tmp_path_factory):
  """A small random model of each kind, and its folder as transformers writes it, with tokenizer and preprocessing."""
  models = {}
  for kind in ("clip", "siglip", "dinov2"):
    folder = tiny_tower.make(tmp_path_factory.mktemp(kind), kind)
    models[kind] = reference(kind, torch, transformers, text={"eos_token_id": END})
    models[kind].save_pretrained(folder)
    models[kind].folder = folder
  return models


def encoder_config(folder, **changes):
  fields = {"pretrained": str(folder), "path": str(folder), "dtype": "float32", "remat": False}
  return ml_collections.ConfigDict(fields | changes)


def image_features(folder, pixels, **changes):
  tower = build_image_tower(encoder_config(folder, **changes), pixels.shape[1])
  open_image_folder(str(folder)).load(tower)
  return np.asarray(nnx.jit(lambda tower, pixels: tower(pixels))(tower, jnp.asarray(pixels)))


def text_features(folder, texts, **changes):
  tower = load_text_tower(encoder_config(folder, **changes), open_text_folder(str(folder)))
  kind = open_text_folder(str(folder)).kind
  tokens = read_pieces(folder, kind, tiny_tower.MAX_LENGTH, padded=tower.needs_padding).encode(texts)
  return np.asarray(nnx.jit(lambda tower, tokens: tower(tokens))(tower, jnp.asarray(tokens)))


def random_pixels(size):
  return np.random.default_rng(0).integers(0, 256, (3, size, size, 3)).astype(np.uint8)


def torch_pixels(torch, pixels):
  mean, std = (np.array(tiny_tower.COLOURS[name], np.float32) for name in ("image_mean", "image_std"))
  return torch.from_numpy(((pixels / np.float32(255) - mean) / std).transpose(0, 3, 1, 2)).float()


def expected_images(torch, model, pixels):
  values = torch_pixels(torch, pixels)
  with torch.no_grad():
    if hasattr(model, "get_image_features"):
      return model.get_image_features(values, interpolate_pos_encoding=True).pooler_output.numpy()
    return model(values).pooler_output.numpy()


@pytest.mark.parametrize("size", [30, 51, 23])  # 4 x 4 patches as trained, 7 x 7 and 3 x 3
@pytest.mark.parametrize("kind", ["clip", "siglip", "dinov2"])
def test_image_features_equal_pytorchs(torch, saved, kind, size):
  pixels = random_pixels(size)
  expected = expected_images(torch, saved[kind], pixels)
  assert np.abs(expected[0] - expected[1]).max() > 0.1
  np.testing.assert_allclose(image_features(saved[kind].folder, pixels), expected, atol=TOLERANCE)


def expected_texts(torch, model, tokens, **changes):
  with torch.no_grad():
    return model.get_text_features(torch.from_numpy(tokens), **changes).pooler_output.numpy()


def pooled(tower, inputs):
  """What a CLIP tower gives its projection."""
  tower.projection = lambda states: states
  return np.asarray(tower(jnp.asarray(inputs)))


def test_clips_pooled_outputs_before_the_projection_equal_pytorchs(torch, saved, transformers):
  model, folder = saved["clip"], saved["clip"].folder
  pixels, tokens = random_pixels(30), clip_tokens(transformers, folder)
  images = build_image_tower(encoder_config(folder), 30)
  open_image_folder(str(folder)).load(images)
  texts = load_text_tower(encoder_config(folder), open_text_folder(str(folder)))
  ids, mask = (torch.from_numpy(tokens[name]) for name in ("input_ids", "attention_mask"))
  with torch.no_grad():
    expected_image = model.vision_model(torch_pixels(torch, pixels)).pooler_output.numpy()
    expected_text = model.text_model(ids, mask).pooler_output.numpy()
  assert expected_image.shape[1] == expected_text.shape[1] == VISION["hidden_size"]
  np.testing.assert_allclose(pooled(images, pixels), expected_image, atol=TOLERANCE)
  padded = np.where(tokens["attention_mask"] == 1, tokens["input_ids"], -1).astype(np.int32)
  np.testing.assert_allclose(pooled(texts, padded), expected_text, atol=TOLERANCE)


def clip_tokens(transformers, folder):
  """By transformers' own tokenizer, padded as it pads."""
  tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
  return tokenizer(TEXTS, padding=True, truncation=True, max_length=tiny_tower.MAX_LENGTH, return_tensors="np")


def test_clips_texts_equal_pytorchs(torch, transformers, saved):
  model = saved["clip"]
  encoded = clip_tokens(transformers, model.folder)
  mask = torch.from_numpy(encoded["attention_mask"])
  expected = expected_texts(torch, model, encoded["input_ids"], attention_mask=mask)
  np.testing.assert_allclose(text_features(model.folder, TEXTS), expected, atol=TOLERANCE)


def test_clips_tokens_are_transformers(transformers, saved):
  encoded = clip_tokens(transformers, saved["clip"].folder)
  ids = np.where(encoded["attention_mask"], encoded["input_ids"], -1)
  own = read_pieces(saved["clip"].folder, "clip", tiny_tower.MAX_LENGTH).encode(TEXTS)
  np.testing.assert_array_equal(own, ids)


def test_the_end_of_an_old_clip_is_the_largest_id(torch, transformers, tmp_path):
  folder = tiny_tower.make(tmp_path)
  model = reference("clip", torch, transformers, text={"eos_token_id": NO_END})
  model.save_pretrained(folder)
  ids = clip_tokens(transformers, folder)["input_ids"]
  np.testing.assert_allclose(text_features(folder, TEXTS), expected_texts(torch, model, ids), atol=TOLERANCE)


def test_siglips_texts_equal_pytorchs(torch, saved):
  model = saved["siglip"]
  tokens = read_pieces(model.folder, "siglip", tiny_tower.MAX_LENGTH, padded=True).encode(TEXTS)
  assert tokens.shape == (len(TEXTS), tiny_tower.MAX_LENGTH) and tokens.min() >= 0
  expected = expected_texts(torch, model, tokens.astype(np.int64))
  np.testing.assert_allclose(text_features(model.folder, TEXTS), expected, atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["clip", "siglip", "dinov2"])
def test_bfloat16_stays_near(saved, kind):
  folder, pixels = saved[kind].folder, random_pixels(30)
  pairs = [[image_features(folder, pixels, dtype=dtype) for dtype in ("bfloat16", "float32")]]
  if kind in TEXT_FAMILIES:
    pairs.append([text_features(folder, TEXTS, dtype=dtype) for dtype in ("bfloat16", "float32")])
  for rounded, exact in pairs:
    assert rounded.dtype == np.float32
    assert 0 < np.linalg.norm(rounded - exact) < 2e-2 * np.linalg.norm(exact)


@pytest.mark.parametrize(
  ("vision", "text"),
  [("CLIPVisionModelWithProjection", "CLIPTextModelWithProjection"), ("SiglipVisionModel", "SiglipTextModel")],
)
def test_a_folder_may_hold_one_half(torch, transformers, saved, tmp_path, vision, text):
  kind = "clip" if vision.startswith("CLIP") else "siglip"
  whole = saved[kind].folder
  for half, name in (("image", vision), ("text", text)):
    folder = tiny_tower.make(tmp_path / half, kind)
    getattr(transformers, name).from_pretrained(whole).save_pretrained(folder)
  pixels = random_pixels(30)
  np.testing.assert_array_equal(image_features(tmp_path / "image", pixels), image_features(whole, pixels))
  np.testing.assert_array_equal(text_features(tmp_path / "text", TEXTS), text_features(whole, TEXTS))


@pytest.mark.parametrize("kind", ["clip", "siglip", "dinov2"])
def test_transformers_reads_what_is_written(torch, transformers, saved, tmp_path, kind):
  source = open_image_folder(str(saved[kind].folder))
  tower = build_image_tower(encoder_config(source.path), 51)
  source.load(tower)
  write_folder(tmp_path, [Trained(source, tower, 51)])
  model = transformers.AutoModel.from_pretrained(tmp_path).eval()
  assert (model.config if kind == "dinov2" else model.config.vision_config).image_size == 51
  pixels = random_pixels(51)
  np.testing.assert_allclose(image_features(tmp_path, pixels), expected_images(torch, model, pixels), atol=TOLERANCE)
  for name, tensor in saved[kind].state_dict().items():
    if "position" not in name:
      np.testing.assert_array_equal(model.state_dict()[name], tensor, err_msg=name)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_pixels_are_those_of_transformers(transformers, saved, kind):
  if kind == "clip":
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil as Processor
  else:
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil as Processor
  noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)  # shorter side 16: 16 x 24
  fields = json.loads((saved[kind].folder / "preprocessor_config.json").read_text())
  values = Processor(**fields)(Image.fromarray(noise), return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
  expected = 255 * (values * np.array(fields["image_std"]) + np.array(fields["image_mean"]))
  resizing = Resizing("crop", "bicubic") if kind == "clip" else Resizing("squash", "bilinear")
  pixels = square_pixels(Image.fromarray(noise), tiny_tower.IMAGE_SIZE, resizing)
  np.testing.assert_allclose(pixels, expected, atol=0.01)


def layers(width, wide, num_layers, num_heads):
  sizes = {"hidden_size": width, "intermediate_size": wide, "num_hidden_layers": num_layers}
  return sizes | {"num_attention_heads": num_heads}


# What the published configurations say.
PUBLISHED = {
  "CLIP ViT-B/32": ("clip", 512, {}, {}),
  "CLIP ViT-L/14": ("clip", 768, layers(1024, 4096, 24, 16) | {"patch_size": 14}, layers(768, 3072, 12, 12)),
  "CLIP ViT-H/14": (
    "clip",
    1024,
    layers(1280, 5120, 32, 16) | {"patch_size": 14, "hidden_act": "gelu"},
    layers(1024, 4096, 24, 16) | {"hidden_act": "gelu"},
  ),
  "SigLIP so400m": (
    "siglip",
    1152,
    layers(1152, 4304, 27, 16) | {"patch_size": 14, "image_size": 384},
    layers(1152, 4304, 27, 16),
  ),
}


def published_slots(name, **changes):
  """The slots of both towers, built without their weights; `changes` are made to both."""
  kind, width, vision, text = PUBLISHED[name]
  vision, text = vision | changes, text | changes
  fields = {"projection_dim": width, "vision_config": vision, "text_config": text}
  whole = with_defaults(fields | {"model_type": kind})
  slots = {}
  for families, arguments in (
    (IMAGE_FAMILIES, (vision.get("image_size", 224), Colours((), ()), DEFAULT_COMPUTE)),
    (TEXT_FAMILIES, (DEFAULT_COMPUTE,)),
  ):
    family = families[kind]
    tower = nnx.eval_shape(functools.partial(family.build, part_of(whole, family.part), *arguments))
    assert tower.feature_dim == width
    own = family.slots(tower)
    filled = sum(variable.size for slot in own.values() for variable in slot.variables)
    assert filled == sum(leaf.size for leaf in jax.tree.leaves(nnx.state(tower)))  # nothing stays zero
    slots |= own
  return slots


@pytest.mark.parametrize("name", ["CLIP ViT-B/32", "SigLIP so400m"])
def test_every_parameter_of_a_published_width_has_its_tensor(name):
  # Two layers show what all do, in a fraction of the time; the test below has them all.
  assert all(slot.shape for slot in published_slots(name, num_hidden_layers=2).values())


@pytest.mark.parametrize("name", PUBLISHED)
def test_tensors_of_published_sizes_are_transformers(torch, transformers, name):
  kind, width, vision, text = PUBLISHED[name]
  with torch.device("meta"):
    if kind == "clip":
      config = transformers.CLIPConfig(vision_config=vision, text_config=text, projection_dim=width)
      model = transformers.CLIPModel(config)
    else:
      model = transformers.SiglipModel(transformers.SiglipConfig(vision_config=vision, text_config=text))
  expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
  expected = {name: shape for name, shape in expected.items() if not name.startswith("logit_")}
  assert {name: tuple(slot.shape) for name, slot in published_slots(name).items()} == expected
