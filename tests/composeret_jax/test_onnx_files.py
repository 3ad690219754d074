"""ONNX files of bundles, against the bundles' own programs."""

import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.bundle import layout, load
from composeret_jax.export import export
from composeret_jax.onnx_files import fixed_length, INPUTS, OUTPUTS, Samples, write_onnx
from composeret_jax.train import train
from data_pipelines.input_error import InputError
from tests import tiny_bert

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime and jax2onnx are not installed (the extra onnx)")
pytest.importorskip("jax2onnx", reason="jax2onnx is not installed (the extra onnx)")


def exported(config, folder):
  config.num_train_steps = 2
  train(config, folder / "run")
  export(config, folder / "run", folder / "bundle", onnx=True)
  return folder / "bundle"


def run(folder, name, **rows):
  session = onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), providers=["CPUExecutionProvider"])
  assert [value.name for value in session.get_inputs()] == list(INPUTS[name])
  return session.run(list(OUTPUTS), rows)


def check_all_programs(folder):
  bundle = load(folder)
  assert {f"{name}.onnx" for name in bundle.info["programs"]} <= bundle.info["files"].keys()
  rng = np.random.default_rng(0)
  size = bundle.image_size
  pixels = rng.integers(0, 256, (5, size, size, 3), dtype=np.uint8)
  texts = ["dark", "light", "medium", "light dark", "nothing known"]
  tokens = fixed_length(bundle._tokens(texts), bundle.info["text"]["onnx_length"])
  features, norms = bundle.encode_with_norms(pixels)
  for ours, theirs in zip((features, norms), run(folder, "encode_gallery", pixels=pixels), strict=True):
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)
  composed, _ = run(folder, "compose_query", pixels=pixels, tokens=tokens)
  np.testing.assert_allclose(composed, bundle.compose(pixels, texts), atol=1e-5)
  np.testing.assert_allclose(run(folder, "compose_texts", tokens=tokens)[0], bundle.text_only(texts), atol=1e-5)
  if bundle.composes_features:
    composed, _ = run(folder, "compose_features", features=features, norms=norms, tokens=tokens)
    np.testing.assert_allclose(composed, bundle.compose_features(features, texts, norms), atol=1e-5)


def test_a_compose_ae_with_an_lstm(config, tmp_path):
  config.model.image_encoder.stage_sizes = (1, 1)  # the last maps are so small that a CPU does them in another way
  check_all_programs(exported(config, tmp_path))


def test_a_composer_of_maps_with_bert(config, tmp_path):
  config.model.composer = "tirg_last_conv"
  config.model.loss_weights.update(image_reconstruction=0.0, text_reconstruction=0.0, rotational_symmetry=0.0)
  config.model.text_encoder.update(name="bert", path=str(tiny_bert.make(tmp_path / "bert")))
  folder = exported(config, tmp_path)
  assert load(folder).info["text"]["onnx_length"] == 12  # of its position table
  check_all_programs(folder)


def eigenvalues(weights, pixels):
  square = jnp.einsum("nhwc,nhvc->nwv", *[pixels.astype(jnp.float32)] * 2)
  return jnp.linalg.eigh(square)[0], pixels.astype(jnp.float32).sum(axis=(1, 2, 3))


SAMPLES = Samples(np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 3), np.int32))


def test_what_cannot_be_converted_is_named(tmp_path):
  with pytest.raises(InputError, match=r"encode_gallery cannot be converted to ONNX: .*eigh"):
    write_onnx(tmp_path, {layout.ENCODE_GALLERY: eigenvalues}, {}, SAMPLES)


def test_a_file_that_computes_something_else_is_refused(tmp_path):
  from composeret_jax import onnx_files

  calls = iter(range(10))

  def changing(weights, pixels):
    offset = next(calls)  # another one whenever it is traced
    values = pixels.astype(jnp.float32).sum(axis=(2, 3)) + offset
    return values, values[:, 0]

  with pytest.raises(InputError, match=r"encode_gallery.onnx gives unit_features that differ"):
    onnx_files.write_onnx(tmp_path, {layout.ENCODE_GALLERY: changing}, {}, SAMPLES)


def test_tokens_are_padded_and_cut_to_one_length():
  tokens = np.arange(6, dtype=np.int32).reshape(2, 3)
  padded = fixed_length(tokens, 64)
  assert padded.shape == (2, 64)
  assert padded[:, :3].tolist() == tokens.tolist()
  assert (padded[:, 3:] == -1).all()
  assert fixed_length(np.ones((1, 100), np.int32), 64).shape == (1, 64)
