"""Runs whose texts are in a template: averaged over variants, and named in every result."""

import json

import jax.numpy as jnp
import numpy as np

from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from composeret_jax.training.train import train


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
