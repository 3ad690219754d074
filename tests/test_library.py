"""The names that `composeret_jax` offers: all documented, imported late, and what they do is what the commands do."""

import ast
import inspect
import itertools
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import composeret_jax
from tests.fakes import hidden_packages

ROOT = pathlib.Path(__file__).parents[1]

# They search, on a machine without flax and without the data sets.
SEARCH = ("Bundle", "InputError", "Query", "Result", "Searcher", "load_bundle")


def test_type_checkers_see_the_names_that_are_imported_late():
  tree = ast.parse((ROOT / "composeret_jax" / "__init__.py").read_text())
  (block,) = [node for node in tree.body if isinstance(node, ast.If)]
  told = {
    alias.asname: f"{node.module}:{alias.name}"
    for node in block.body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
  }
  found = {name: module if ":" in module else f"{module}:{name}" for name, module in composeret_jax._FACE.items()}
  assert told == found


@pytest.mark.parametrize("name", composeret_jax.__all__)
def test_every_name_is_there_and_documented(name):
  value = getattr(composeret_jax, name)
  assert name in dir(composeret_jax)
  assert f":: composeret_jax.{name}\n" in (ROOT / "docs" / "api.md").read_text()
  if callable(value):
    assert inspect.getdoc(value)


def test_an_unknown_name_is_an_error():
  with pytest.raises(AttributeError, match="has no attribute 'load_model'"):
    composeret_jax.load_model  # noqa: B018


def test_the_import_alone_imports_nothing_else():
  program = "import sys, composeret_jax; print([name for name in sys.modules if name.startswith(('jax', 'flax'))])"
  printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
  assert printed.stdout == "[]\n"


def test_what_searches_needs_the_packages_of_a_bundle_alone():
  program = f"import composeret_jax\nfor name in {SEARCH}: getattr(composeret_jax, name)\nprint('imported')"
  assert hidden_packages.run(program) == "imported\n"


def test_a_configuration_is_loaded_by_name_and_by_path(tmp_path):
  file = tmp_path / "mine.py"
  file.write_text("from configs import shapes\n\n\ndef get_config(model='sum'):\n  return shapes.get_config(model)\n")
  assert composeret_jax.load_config("shapes:rotor").model.composer == "rotor"
  assert composeret_jax.load_config(str(file)).model.composer == "sum"
  assert composeret_jax.load_config(f"{file}:tirg").model.composer == "tirg"


@pytest.mark.parametrize(
  ("name", "message"),
  [("shape", "'shape' is no configuration and no file, did you mean 'shapes'"), ("shapes:rotr", "rotr")],
)
def test_a_configuration_that_is_not_there_is_named(name, message):
  with pytest.raises(composeret_jax.InputError, match=message):
    composeret_jax.load_config(name)


def test_a_mistake_in_the_configuration_is_found_before_the_data(config):
  config.batch_size = 0
  with pytest.raises(composeret_jax.InputError, match="config.batch_size is 0"):
    composeret_jax.open_data(config)


def test_mined_negatives_are_for_train_alone(config):
  data = composeret_jax.open_data(config)
  model = composeret_jax.build_model(data)
  config.hard_negatives.every_steps = 1
  with pytest.raises(composeret_jax.InputError, match="config.hard_negatives.every_steps is 1, expected 0"):
    composeret_jax.make_train_step(data, model)


def test_places_are_texts_or_paths(config, tmp_path):
  for place in (str, pathlib.Path):
    with pytest.raises(composeret_jax.InputError, match="none is no folder"):
      composeret_jax.export_bundle(config, place(tmp_path / "none"), place(tmp_path / "bundle"))
    with pytest.raises(composeret_jax.InputError, match="none is no folder"):
      composeret_jax.folder_images(place(tmp_path / "none"))


@pytest.fixture(scope="module")
def by_parts(raw_mit_states, prepared, tmp_path_factory):
  """A few steps by the library, and the same by `train`: losses, metrics, a bundle."""
  from tests.fakes import tiny

  config = tiny.config(raw_mit_states, prepared)
  config.num_train_steps = config.eval_every_steps = 3
  folder = tmp_path_factory.mktemp("library")
  data = composeret_jax.open_data(config)
  model = composeret_jax.build_model(data)
  state, step, losses = composeret_jax.first_state(data, model), composeret_jax.make_train_step(data, model), []
  for batch in itertools.islice(composeret_jax.train_batches(data), 3):
    state, loss = step(state, batch)
    losses.append(float(loss["total"]))
  composeret_jax.save_bundle(data, model, state, folder / "bundle")
  composeret_jax.train(config, str(folder / "run"))
  evaluation = composeret_jax.evaluate(data, model, state)
  return data, losses, evaluation, folder


def test_the_parts_do_what_a_run_does(by_parts):
  _, losses, evaluation, folder = by_parts
  lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
  assert losses == [line["train/total"] for line in lines if "train/total" in line]
  measured = next(line for line in lines if "eval/R@1" in line)
  assert {f"eval/{name}": value for name, value in evaluation.metrics.items()}.items() <= measured.items()


def test_a_model_of_the_library_is_searched(by_parts):
  data, _, evaluation, folder = by_parts
  bundle = composeret_jax.load_bundle(folder / "bundle")
  assert bundle.info["metrics"] == dict(evaluation.metrics) and bundle.info["step"] == 3
  composeret_jax.fill_index(bundle, folder / "index", composeret_jax.gallery_images(data.config))
  searcher = composeret_jax.Searcher.open(folder / "bundle", folder / "index")
  row = int(data.dataset.queries.references[0])
  (found,) = searcher.search(data.dataset.gallery.names[row], data.dataset.queries.texts[0], k=1)
  assert found.caption == data.dataset.gallery.labels[int(evaluation.ranks[0, 0])]


def test_results_are_drawn(by_parts):
  data, _, evaluation, _ = by_parts
  picture = composeret_jax.results_picture(data, evaluation, num_rows=2)
  assert picture.dtype == np.uint8 and picture.shape[2] == 3
  assert picture.shape[0] < composeret_jax.results_picture(data, evaluation, num_rows=3).shape[0]
