"""Reading towers: the files of a folder, what is said about those that do not fit, and writing back."""

import json

import ml_collections
import numpy as np
import pytest
from safetensors.numpy import save_file

from composeret_jax.pretrained.towers.preprocessing import read_preprocessing, with_image_size
from composeret_jax.pretrained.towers.tower_folder import (
  build_image_tower,
  open_image_folder,
  open_text_folder,
  part_of,
)
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import Resizing
from tests.fakes import tiny_tower


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
  files = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(tensors)}
  for file in set(files.values()):
    save_file({name: tensor for name, tensor in tensors.items() if files[name] == file}, parts / file)
  (parts / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
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
    ("clip", {"model_type": "siglip2"}, "model_type 'siglip2', expected one of .*SigLIP 2 of one resolution is siglip"),
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
  whole = {"text_config": {"hidden_size": 1}, "text_config_dict": {"hidden_size": 2}, "projection_dim": 3}
  assert part_of(whole, "text_config") == {"hidden_size": 2, "projection_dim": 3}


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
    ({"size": {"height": 384, "width": 384}, "resample": 3}, (Resizing("squash", "bicubic"), 384)),
    (
      {"size": {"height": 384, "width": 384}, "do_center_crop": False, "crop_size": 9, "resample": 2},
      (Resizing("squash", "bilinear"), 384),
    ),
  ],
)
def test_preprocessing_as_it_is_published(tmp_path, fields, expected):
  fields |= tiny_tower.COLOURS
  (tmp_path / "preprocessor_config.json").write_text(json.dumps(fields))
  found = read_preprocessing(tmp_path)
  assert (found.resizing, found.image_size) == expected
  assert (list(found.colours.mean), list(found.colours.std)) == tuple(tiny_tower.COLOURS.values())
  (tmp_path / "preprocessor_config.json").write_text(json.dumps(with_image_size(fields, 42)))
  assert read_preprocessing(tmp_path).image_size == 42


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"size": {"shortest_edge": 20}}, "brings the shorter side to 20 pixels and keeps 16 of them"),
    ({"crop_size": {"height": 16, "width": 8}}, 'has crop_size {"height": 16, "width": 8}, expected one number'),
    ({"resample": 1}, r"has resample 1, expected one of 2 \(bilinear\), 3 \(bicubic\)"),
    ({"image_mean": [0.5]}, r"has image_mean \[0.5\], expected three numbers"),
  ],
)
def test_preprocessing_that_we_do_not_do_is_named(tmp_path, changes, message):
  folder = tiny_tower.make(tmp_path)
  rewrite(folder / "preprocessor_config.json", **changes)
  with pytest.raises(InputError, match=message):
    read_preprocessing(folder)
