"""Runs whose texts are in a template: averaged over variants, and named in every result."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.export.bundle import export
from composeret_jax.serving.bundle import load
from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run, open_trained_run
from composeret_jax.training.train import evaluate, train
from data_pipelines.input_error import InputError
from data_pipelines.texts.templates import PRESETS, TextTemplate


def features(config, folder):
  run = open_run(config, folder)
  return run.evaluator.features(evaluated_variables(newest_state(run)))


def test_variants_are_averaged_on_the_sphere_and_results_name_them(config, tmp_path, capsys):
  config.model.text_encoder.words = "unicode"
  config.model.train_radius, config.num_train_steps = False, 0
  texts = ("now {caption} and cat", "hat {caption}")
  config.text_template, config.text_variants = texts[0], texts[1:]
  train(config, tmp_path / "both")
  both = features(config, tmp_path / "both")
  assert open_run(config, tmp_path / "both").evaluator.count(both).texts == " | ".join(texts)
  assert "texts now {caption} and cat | hat {caption}: " in capsys.readouterr().out
  (line,) = map(json.loads, (tmp_path / "both" / "metrics.jsonl").read_text().splitlines())
  assert line["texts"] == "now {caption} and cat | hat {caption}" and line["split"] == "test"

  run = open_run(config, tmp_path / "both")
  model, reader, queries = run.model, run.texts.reader, run.dataset.queries
  model.eval()
  images = model.encode_images(jnp.asarray(run.dataset.gallery_pixels[np.asarray(queries.references)]))
  composed = []
  for template in texts:
    own = [template.format(caption=text.split()[1]) for text in queries.texts]
    composed.append(model.on_sphere(model.compose(images, model.encode_texts(jnp.asarray(reader.encode(own))))))
  expected = np.mean(composed, axis=0)
  expected *= config.model.radius / np.linalg.norm(expected, axis=1, keepdims=True)
  np.testing.assert_allclose(both.composed, expected, rtol=1e-4, atol=1e-4)


def in_templates(config, folder, template, *variants):
  """A bundle of a run of no steps with these texts, the run, and what its evaluation compared."""
  config.model.text_encoder.words, config.num_train_steps = "unicode", 0
  config.text_template, config.text_variants = template, variants
  train(config, folder / "run")
  export(config, folder / "run", folder / "bundle")
  return load(folder / "bundle"), open_run(config, folder / "run"), features(config, folder / "run")


@pytest.mark.slow  # a training and an export
@pytest.mark.parametrize("variants", [(), ("hat {caption}",)])
def test_a_bundle_puts_typed_texts_into_the_templates(config, tmp_path, variants):
  bundle, run, expected = in_templates(config, tmp_path, "now {caption} and cat", *variants)
  queries = run.dataset.queries
  typed = [text.removeprefix("now ").removesuffix(" and cat") for text in queries.texts]
  pixels = run.dataset.gallery_pixels[np.asarray(queries.references)]
  composed = expected.composed / config.model.radius
  np.testing.assert_allclose(bundle.compose(pixels, typed), composed, atol=1e-5)
  text_only = expected.text_only / config.model.radius
  np.testing.assert_allclose(bundle.text_only(typed), text_only, atol=1e-5)
  features, norms = bundle.encode_with_norms(pixels)
  np.testing.assert_allclose(bundle.compose_features(features, typed, norms), composed, atol=1e-5)
  assert bundle.info["text_templates"] == ["now {caption} and cat", *variants]
  assert bundle.info["texts"] == run.dataset.text_names
  assert set(bundle.info["example_texts"]) <= set(typed)
  with pytest.raises(InputError, match="no word of 'gibberish'"):
    bundle.compose(pixels[:1], ["gibberish"])  # though the template has known words
  assert bundle.unknown_words("gibberish dark") == ["gibberish"]


@pytest.mark.slow  # an export
def test_a_bundle_whose_texts_are_as_typed_is_what_older_programs_read(config, tmp_path):
  bundle, _, _ = in_templates(config, tmp_path, "{caption}")
  assert bundle.info["format_version"] == 2 and "text_templates" not in bundle.info


def test_fields_that_nobody_types_need_a_template_for_typed_texts():
  for preset, datasets in PRESETS.items():
    for template in datasets.values():
      texts = template.typed_texts()
      assert texts == (() if preset in ("magic_lens", "bge_vl") else (texts[0].format(caption="{caption}"),))
  with pytest.raises(InputError, match="has thing, which no user types: expected a text with {caption} alone"):
    TextTemplate(("{caption} of {thing}",)).typed_texts()


def test_another_template_for_an_evaluation_leaves_the_words_of_an_lstm_as_they_were(config, tmp_path, capsys):
  config.num_train_steps = 0
  train(config, tmp_path)
  words = open_run(config, tmp_path).texts.made_with["words"]
  config.text_template = "now {caption}, please"
  evaluate(config, tmp_path)
  assert "texts now {caption}, please" in capsys.readouterr().out
  assert open_trained_run(config, tmp_path).texts.made_with["words"] == words
