"""Reading BERTs: the names that files use, and what is said about files that do not fit."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from composeret_jax.pretrained.bert import bert_slots, load_bert
from data_pipelines.input_error import InputError
from tests.fakes import tiny_bert
from tests.fakes.weight_parts import write_parts


@pytest.fixture
def folder(tmp_path):
  return tiny_bert.make(tmp_path)


def values(bert):
  return {name: np.asarray(variable[...]) for name, slot in bert_slots(bert).items() for variable in slot.variables}


def test_prefixed_and_old_names_are_the_same_weights(folder):
  plain = values(load_bert(folder, "last_mean"))
  tensors = {f"bert.{name}": tensor for name, tensor in tiny_bert.random_tensors(0).items()}
  tensors = {
    name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
    for name, tensor in tensors.items()
  }
  heads = {"cls.predictions.bias": np.zeros(3), "bert.pooler.dense.bias": np.zeros(3)}
  save_file(tensors | heads, folder / "model.safetensors")
  renamed = values(load_bert(folder, "last_mean"))
  assert plain.keys() == renamed.keys()
  for name, value in plain.items():
    np.testing.assert_array_equal(renamed[name], value, err_msg=name)


def test_bfloat16_in_several_files_is_the_same_rounded(folder):
  plain = values(load_bert(folder, "last_mean"))
  tensors = {name: tensor.astype("bfloat16") for name, tensor in tiny_bert.random_tensors(0).items()}
  (folder / "model.safetensors").unlink()
  write_parts(folder, tensors)
  rounded = values(load_bert(folder, "last_mean"))
  assert plain.keys() == rounded.keys()
  for name, value in plain.items():
    np.testing.assert_array_equal(rounded[name], value.astype("bfloat16").astype(np.float32), err_msg=name)


def test_tensors_that_do_not_fit_are_named(folder):
  tensors = tiny_bert.random_tensors(0)
  del tensors["encoder.layer.1.output.dense.bias"]
  tensors["embeddings.LayerNorm.weight"] = np.ones(7)
  tensors["encoder.layer.2.output.dense.bias"] = np.ones(8)
  save_file(tensors, folder / "model.safetensors")
  with pytest.raises(InputError) as error:
    load_bert(folder, "last_mean")
  message = str(error.value)
  assert "missing: encoder.layer.1.output.dense.bias (8,)" in message
  assert "wrong shape: embeddings.LayerNorm.weight is (7,), expected (8,)" in message
  assert "left over: encoder.layer.2.output.dense.bias (8,)" in message
  assert str(folder / "model.safetensors") in message


def test_the_layer_that_a_pooling_does_not_read_is_not_kept(folder):
  assert len(load_bert(folder, "second_to_last_mean").layers) == 1
  assert len(load_bert(folder, "last_mean").layers) == 2


@pytest.mark.parametrize(
  ("field", "value"), [("model_type", "roberta"), ("hidden_act", "swish"), ("position_embedding_type", "relative_key")]
)
def test_models_that_we_cannot_compute_are_refused(folder, field, value):
  (folder / "config.json").write_text(json.dumps(tiny_bert.CONFIG | {field: value}))
  with pytest.raises(InputError, match=rf"config\.json has {field} '{value}', expected"):
    load_bert(folder, "cls")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_files_are_named(folder, name):
  (folder / name).unlink()
  with pytest.raises(InputError, match=f"has no {name}; it has .*vocab.txt"):
    load_bert(folder, "cls")


def test_a_broken_config_is_named(folder):
  (folder / "config.json").write_text("{")
  with pytest.raises(InputError, match=r"config\.json is no JSON"):
    load_bert(folder, "cls")
