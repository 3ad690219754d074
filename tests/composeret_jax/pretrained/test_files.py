import huggingface_hub
import numpy as np
import pytest
from safetensors.numpy import save_file

from composeret_jax.pretrained.files import find_folder, find_weights, read_safetensors, required
from data_pipelines.input_error import InputError


@pytest.fixture
def no_network(monkeypatch):
  def refuse(where, allow_patterns):
    raise OSError("no route to the hub\nand more lines")

  monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)


def test_without_network_the_message_has_the_command(no_network):
  with pytest.raises(InputError) as error:
    find_folder("timm/resnet18.tv_in1k", ["model.safetensors"], "model.image_encoder.pretrained")
  message = str(error.value)
  assert "config.model.image_encoder.pretrained=timm/resnet18.tv_in1k" in message
  assert "(no route to the hub)" in message
  assert "\n  hf download timm/resnet18.tv_in1k model.safetensors\n" in message


def test_paths_are_read_as_all_others(no_network, tmp_path, monkeypatch):
  for find in (lambda where: find_folder(where, [], "model.text_encoder.path"), lambda where: find_weights(where, "x")):
    with pytest.raises(InputError, match=r"config\..*=gs://bucket/bert cannot be used: gs:// is no path"):
      find("gs://bucket/bert")
  monkeypatch.setenv("HOME", str(tmp_path))
  (tmp_path / "bert").mkdir()
  assert find_folder("~/bert", [], "model.text_encoder.path") == tmp_path / "bert"


def test_a_path_is_not_looked_up_on_the_hub(no_network):
  with pytest.raises(InputError, match="is no folder here$"):
    find_folder("./missing/folder/of/mine", ["config.json"], "model.text_encoder.path")


def test_a_repository_is_fetched_with_the_needed_files_only(monkeypatch, tmp_path):
  asked = {}
  monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **kw: asked.update(a=a, **kw) or str(tmp_path))
  assert find_folder("some/model", ("a.json", "b.txt"), "x") == tmp_path
  assert asked == {"a": ("some/model",), "allow_patterns": ["a.json", "b.txt"]}


def test_an_empty_setting_is_named():
  with pytest.raises(InputError, match=r"config\.model\.text_encoder\.path is not set"):
    find_folder("", ["config.json"], "model.text_encoder.path")


def test_a_missing_file_is_told_with_what_is_there(tmp_path):
  (tmp_path / "pytorch_model.bin").write_bytes(b"")
  with pytest.raises(InputError, match=r"has no model\.safetensors; it has pytorch_model\.bin"):
    find_weights(str(tmp_path), "x")
  assert required(tmp_path / "pytorch_model.bin") == tmp_path / "pytorch_model.bin"


def test_a_broken_file_is_named(tmp_path):
  save_file({"a": np.arange(1000)}, tmp_path / "whole.safetensors")
  broken = tmp_path / "broken.safetensors"
  broken.write_bytes((tmp_path / "whole.safetensors").read_bytes()[:500])
  with pytest.raises(InputError, match=r"broken\.safetensors cannot be read as safetensors"):
    read_safetensors(broken)
  np.testing.assert_array_equal(read_safetensors(tmp_path / "whole.safetensors")["a"], np.arange(1000))
