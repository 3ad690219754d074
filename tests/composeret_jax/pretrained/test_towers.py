"""Reading towers: the files of a folder, what is said about those that do not fit, and writing back."""

import json

import ml_collections
import numpy as np
import pytest
from safetensors.numpy import save_file

from composeret_jax.pretrained.hub.config import with_defaults
from composeret_jax.pretrained.towers.preprocessing import read_preprocessing, with_image_size
from composeret_jax.pretrained.towers.tower_folder import (
  build_image_tower,
  open_image_folder,
  open_text_folder,
  part_of,
  resized_positions,
)
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import Resizing
from tests.fakes import tiny_tower
from tests.fakes.weight_parts import write_parts


def loaded(folder, image_size=tiny_tower.IMAGE_SIZE):
  config = ml_collections.ConfigDict({"pretrained": str(folder), "dtype": "float32", "remat": False})
  tower = build_image_tower(config, image_size)
  source = open_image_folder(str(folder))
  source.load(tower)
  return source, tower


def rewrite(file, **changes):
  file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("kind", ["clip", "siglip", "dinov2"])
def test_what_is_read_is_written_back_to_the_bit(tmp_path, kind):
  source, tower = loaded(tiny_tower.make(tmp_path, kind))
  slots, tensors = source.family.slots(tower), source.tensors()
  assert slots.keys() == tensors.keys()
  for name, slot in slots.items():
    np.testing.assert_array_equal(slot.read(), tensors[name], err_msg=name)


def test_weights_in_several_files_are_the_same(tmp_path):
  whole, parts = (tiny_tower.make(tmp_path / name) for name in ("whole", "parts"))
  tensors = tiny_tower.random_tensors("clip", 0)
  (parts / "model.safetensors").unlink()
  files = write_parts(parts, tensors)
  source = open_image_folder(str(parts))
  expected = open_image_folder(str(whole)).tensors()
  assert source.tensors().keys() == expected.keys()
  assert all((source.tensors()[name] == tensor).all() for name, tensor in expected.items())
  assert len(source.fingerprints()) == 4
  (parts / files["visual_projection.weight"]).unlink()
  with pytest.raises(InputError, match="has no model-0000"):
    source.tensors()


def test_buffers_of_old_files_are_not_read(tmp_path):
  tensors = tiny_tower.random_tensors("clip", 0)
  folder = tiny_tower.make(tmp_path)
  save_file(tensors | {"vision_model.embeddings.position_ids": np.arange(5)}, folder / "model.safetensors")
  loaded(folder)


def test_weights_that_do_not_fit_are_named(tmp_path):
  folder = tiny_tower.make(tmp_path)
  rewrite(folder / "config.json", projection_dim=7)
  with pytest.raises(InputError, match=r"wrong shape: visual_projection.weight is \(6, 8\), expected \(7, 8\)"):
    loaded(folder)


@pytest.mark.parametrize(
  ("kind", "changes", "message"),
  [
    ("clip", {"model_type": "vit"}, "model_type 'vit', expected one of clip, clip_vision_model, siglip,"),
    ("siglip", {"model_type": "siglip2", "vision_config": {"num_patches": 256}}, r"many resolutions \(NaFlex\)"),
    ("siglip", {"model_type": "siglip2", "vision_config": {}}, r"many resolutions \(NaFlex\)"),
    ("clip", {"vision_config": {"hidden_size": "wide"}}, "is no configuration of a clip: .*hidden_size"),
    ("clip", {"vision_config": {"hidden_act": "swish"}}, "hidden_act 'swish', expected one of gelu,"),
    ("siglip", {"vision_config": {"vision_use_head": False}}, "vision_use_head False, expected True"),
    ("dinov2", {"use_swiglu_ffn": True}, "use_swiglu_ffn True, expected False"),
  ],
)
def test_models_that_we_cannot_compute_are_refused(tmp_path, kind, changes, message):
  folder = tiny_tower.make(tmp_path, kind)
  rewrite(folder / "config.json", **changes)
  with pytest.raises(InputError, match=message):
    open_image_folder(str(folder))


def test_dinov2_reads_no_texts(tmp_path):
  with pytest.raises(InputError, match="model_type 'dinov2', expected one of clip, clip_text_model, "):
    open_text_folder(str(tiny_tower.make(tmp_path, "dinov2")))


def test_fields_of_old_files_are_read_where_they_count():
  old = {"text_config": {"hidden_size": 8}, "text_config_dict": {"hidden_size": 16}, "projection_dim": 3}
  fields = part_of(with_defaults({"model_type": "clip"} | old), "text_config")
  expected = {"hidden_size": 16, "projection_dim": 3, "vocab_size": 49_408, "hidden_act": "quick_gelu"}
  assert {name: fields[name] for name in expected} == expected


def test_a_siglip_2_of_one_resolution_is_read_as_a_siglip(tmp_path):
  folders = [tiny_tower.make(tmp_path / name, "siglip") for name in ("siglip", "siglip2")]
  rewrite(folders[1] / "config.json", model_type="siglip2")
  (first, tower), (second, again) = map(loaded, folders)
  assert second.kind == "siglip2"
  for name, slot in first.family.slots(tower).items():
    np.testing.assert_array_equal(second.family.slots(again)[name].read(), slot.read())
  assert open_text_folder(str(folders[1])).kind == "siglip2"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_of_two_bytes_are_those_values_in_float32(tmp_path, dtype):
  folder = tiny_tower.make(tmp_path)
  tensors = {name: tensor.astype(dtype) for name, tensor in tiny_tower.random_tensors("clip", 0).items()}
  save_file(tensors, folder / "model.safetensors")
  source, tower = loaded(folder)
  for name, slot in source.family.slots(tower).items():
    np.testing.assert_array_equal(slot.read(), tensors[name].astype(np.float32), err_msg=name)
  # Positions of another number of patches are interpolated before anything is rounded.
  _, larger = loaded(folder, image_size=24)
  exact = resized_positions(tensors["vision_model.embeddings.position_embedding.weight"].astype(np.float32), 9, 1)
  np.testing.assert_array_equal(larger.embeddings.positions[...], exact)


def test_images_without_a_patch_are_refused(tmp_path):
  with pytest.raises(InputError, match=r"config\.data\.image_size is 7, expected at least 8: a patch of"):
    loaded(tiny_tower.make(tmp_path), image_size=7)


@pytest.mark.parametrize(
  ("fields", "expected"),
  [
    ({"size": 224, "crop_size": 224, "resample": 3}, (Resizing("crop", "bicubic"), 224)),
    (
      {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}, "resample": 2},
      (Resizing("crop", "bilinear"), 336),
    ),
    ({}, (Resizing("crop", "bicubic"), 224)),
    ({"feature_extractor_type": "SiglipFeatureExtractor"}, (Resizing("squash", "bicubic"), 224)),
    ({"size": {"height": 384, "width": 384}, "do_center_crop": False}, (Resizing("squash", "bicubic"), 384)),
    (
      {"size": {"height": 384, "width": 384}, "do_center_crop": False, "crop_size": 9, "resample": 2},
      (Resizing("squash", "bilinear"), 384),
    ),
  ],
)
def test_preprocessing_as_it_is_published(tmp_path, fields, expected):
  file = tmp_path / "preprocessor_config.json"
  fields |= tiny_tower.COLOURS
  file.write_text(json.dumps(fields))
  found = read_preprocessing(tmp_path, "clip")
  assert (found.resizing, found.image_size) == expected
  assert (list(found.colours.mean), list(found.colours.std)) == tuple(tiny_tower.COLOURS.values())
  # Newer folders have one file for all processors.
  file.rename(tmp_path / "processor_config.json")
  (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": fields}))
  assert read_preprocessing(tmp_path, "clip") == found
  if "size" in fields:
    (tmp_path / "processor_config.json").write_text(json.dumps(with_image_size({"image_processor": fields}, 42)))
    assert read_preprocessing(tmp_path, "clip").image_size == 42


@pytest.mark.parametrize(
  ("changes", "mean", "std"),
  [
    ({"rescale_factor": 1 / 127.5}, [0.25, 0.2, 0.15], [0.1, 0.15, 0.2]),
    ({"do_rescale": False, "image_mean": [51, 102, 0], "image_std": [255, 51, 102]}, [0.2, 0.4, 0], [1, 0.2, 0.4]),
    ({"do_normalize": False}, [0, 0, 0], [1, 1, 1]),
  ],
)
def test_colours_are_those_of_pixels_up_to_one(tmp_path, changes, mean, std):
  """(pixel * factor - image_mean) / image_std of the processor is (pixel / 255 - mean) / std of ours."""
  folder = tiny_tower.make(tmp_path)
  rewrite(folder / "preprocessor_config.json", **changes)
  colours = read_preprocessing(folder, "clip").colours
  np.testing.assert_allclose([colours.mean, colours.std], [mean, std])


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"size": {"shortest_edge": 20}}, "brings the shorter side to 20 pixels and keeps 16 of them"),
    ({"crop_size": {"height": 16, "width": 8}}, 'has crop_size {"height": 16, "width": 8}, expected one number'),
    ({"resample": 1}, r"has resample 1, expected one of 2 \(bilinear\), 3 \(bicubic\)"),
    ({"image_mean": [0.5]}, r"has image_mean \[0.5\], expected three numbers"),
    ({"do_resize": False}, "has do_resize False, expected True"),
    ({"image_processor_type": "Siglip2ImageProcessor"}, r"many resolutions \(NaFlex\)"),
  ],
)
def test_preprocessing_that_we_do_not_do_is_named(tmp_path, changes, message):
  folder = tiny_tower.make(tmp_path)
  rewrite(folder / "preprocessor_config.json", **changes)
  with pytest.raises(InputError, match=message):
    read_preprocessing(folder, "clip")


def test_a_missing_and_a_broken_processor_are_named(tmp_path):
  folder = tiny_tower.make(tmp_path)
  (folder / "preprocessor_config.json").write_text("[")
  with pytest.raises(InputError, match=r"preprocessor_config\.json cannot be read as an image processor"):
    read_preprocessing(folder, "clip")
  (folder / "preprocessor_config.json").unlink()
  with pytest.raises(InputError, match=r"has no preprocessor_config\.json; it has config\.json"):
    read_preprocessing(folder, "clip")
