"""Bundles with ONNX files: run under onnxruntime, and compared with the bundle's own programs."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.export import onnx as onnx_export
from composeret_jax.export.bundle import export
from composeret_jax.export.onnx import evaluated
from composeret_jax.export.sample_queries import sample_queries
from composeret_jax.serving.bundle import layout, load
from composeret_jax.training.train import train
from composeret_jax.training.without_workdir import open_data
from configs import lincir, models
from data_pipelines.input_error import InputError
from tests.fakes import tiny, tiny_bert, tiny_tower
from tests.fakes.slow import slow
from tests.runs.test_other_data import config_at

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("jax2onnx", reason="the extra onnx is not installed")

TEXTS = ["dark", "light medium box", ""]


def exported(config, folder):
  config.num_train_steps = 2
  train(config, folder / "run")
  export(config, folder / "run", folder / "bundle", onnx=True)
  return load(folder / "bundle")


def answers(folder, program, **inputs):
  session = onnxruntime.InferenceSession(folder / layout.onnx_file(program))
  return session.run(["features", "norms"], inputs)


def check_equals_bundle(folder, bundle, num):
  """Rows and text lengths that the export did not check."""
  pixels = np.random.default_rng(0).integers(0, 256, (num, 16, 16, 3)).astype(np.uint8)
  texts = [TEXTS[i % 3] for i in range(num)]
  tokens = bundle._tokens(texts, *bundle.info.get("text_templates", ()))  # no test here has several
  encoded = bundle.encode_with_norms(pixels)
  pairs = [
    (answers(folder, "encode_gallery", pixels=pixels), encoded),
    (answers(folder, "compose_query", pixels=pixels, tokens=tokens), bundle.compose_with_norms(pixels, texts)),
    (answers(folder, "compose_texts", tokens=tokens)[:1], [bundle.text_only(texts)]),
  ]
  if bundle.composes_features:
    rows = {"reference_features": encoded[0], "reference_norms": encoded[1], "tokens": tokens}
    expected = bundle.compose_features_with_norms(encoded[0], texts, encoded[1])
    pairs.append((answers(folder, "compose_features", **rows), expected))
  for found, expected in pairs:
    for array, other in zip(found, expected, strict=True):
      np.testing.assert_allclose(array, other, rtol=1e-4, atol=1e-5)


@pytest.mark.slow  # an export, traced again
@pytest.mark.parametrize("model", [slow("compose_ae"), "tirg", slow("tirg_last_conv")])
def test_it_answers_as_the_bundle_does(config, tmp_path, model):
  fields = models.get_config(model)
  config.model.composer, config.model.loss_weights = fields.composer, fields.loss_weights
  bundle = exported(config, tmp_path)
  files = {layout.onnx_file(name) for name in bundle.info["programs"]}
  assert {path.name for path in (tmp_path / "bundle").glob("*.onnx")} == files <= bundle.info["files"].keys()
  for num in (1, 5):
    check_equals_bundle(tmp_path / "bundle", bundle, num)
  with (tmp_path / "bundle" / "compose_query.onnx").open("r+b") as file:
    file.write(b"x")
  with pytest.raises(InputError, match="compose_query.onnx has changed"):
    load(tmp_path / "bundle")


@pytest.mark.slow
def test_bert(config, tmp_path):
  bert = tiny_bert.make(tmp_path / "bert")
  config.model.text_encoder.update(name="bert", path=str(bert), fine_tune=True)
  check_equals_bundle(tmp_path / "bundle", exported(config, tmp_path), 3)


@pytest.mark.slow  # towers, whose programs are larger
def test_words_of_images_over_frozen_towers(config, tmp_path):
  config.model = models.inversion("pic2word", str(tiny_tower.make(tmp_path / "towers")))
  config.data.interpolation, config.text_template, config.num_train_steps = "bicubic", "* is {caption}", 0
  train(config, tmp_path / "run")
  export(config, tmp_path / "run", tmp_path / "bundle", onnx=True)
  check_equals_bundle(tmp_path / "bundle", load(tmp_path / "bundle"), 3)


def test_a_gallery_without_queries_is_checked_on_its_images(tmp_path):
  config = config_at(tmp_path / "data")
  config.data.triplets = ""
  data = open_data(config)
  pixels, tokens = sample_queries(data, data.texts.reader)
  assert pixels.shape == (8, 16, 16, 3) and tokens.tolist() == [[-1]] * 8


@pytest.mark.slow  # towers, whose programs are larger
def test_captions_alone_have_no_images_to_check_on(tmp_path):
  config = tiny_tower.use(lincir.get_config("base,captions"), tiny_tower.make(tmp_path / "towers"))
  captions = tmp_path / "captions.jsonl"
  captions.write_text("".join(f'{{"caption": "{noun} is dark", "keywords": ["{noun}"]}}\n' for noun in tiny.NOUNS))
  config.data.update(captions=str(captions), prepared_dir=str(tmp_path / "prepared"), num_workers=0, test_share=0.4)
  config.update(num_train_steps=0, num_warmup_steps=0)
  train(config, tmp_path / "run")
  export(config, tmp_path / "run", tmp_path / "bundle", onnx=True)
  check_equals_bundle(tmp_path / "bundle", load(tmp_path / "bundle"), 3)


def test_an_operation_that_cannot_be_converted_is_named():
  def program(weights, pixels):
    rows = jax.lax.convert_element_type(pixels, jnp.float32).reshape(pixels.shape[0], -1)
    return rows, jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct((2,), jnp.float32), rows[:, 0])

  shape = jax.ShapeDtypeStruct((2, 4, 4, 3), jnp.uint8)
  with pytest.raises(InputError, match="encode_gallery cannot be converted .* operation pure_callback"):
    onnx_export.convert("encode_gallery", program, {}, [shape])


def test_a_result_that_is_off_is_refused(monkeypatch, tmp_path):
  def program(weights, pixels):
    features = pixels.astype(jnp.float32).mean((1, 2)) * weights["factor"]
    return features, features.sum(axis=1)

  convert = onnx_export.convert
  monkeypatch.setattr(onnx_export, "convert", lambda n, p, w, s: convert(n, p, {"factor": w["factor"] * 1.01}, s))
  shapes = {"encode_gallery": [jax.ShapeDtypeStruct((*jax.export.symbolic_shape("b"), 4, 4, 3), jnp.uint8)]}
  pixels = np.full((2, 4, 4, 3), 100, np.uint8)
  with pytest.raises(InputError, match="encode_gallery's features are off by 1 under onnxruntime"):
    onnx_export.write_onnx(
      tmp_path,
      {"encode_gallery": program},
      {"factor": np.ones((), np.float32)},
      shapes,
      pixels,
      np.zeros((2, 1), np.int32),
    )


def test_a_missing_package_is_named(monkeypatch):
  find_spec = importlib.util.find_spec
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jax2onnx" else find_spec(name))
  with pytest.raises(InputError, match=r"--onnx needs jax2onnx: pip install 'composeret-jax\[onnx\]'"):
    onnx_export.check_installed()


def test_rewritten_pools_keep_their_padding():
  def pool(maps):
    return jax.lax.reduce_window(
      maps, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), [(0, 0), (1, 1), (1, 1), (0, 0)]
    )

  maps = -jnp.arange(16, dtype=jnp.float32).reshape(1, 4, 4, 1)
  (found,) = evaluated(jax.make_jaxpr(pool)(maps), maps)
  np.testing.assert_array_equal(found[0, :, :, 0], [[0, -1], [-4, -5]])
