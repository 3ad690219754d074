import shutil

import jax
import pytest

from composeret_jax.training.reports.heading import heading
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from composeret_jax.training.train import train
from tests.fakes import tiny, tiny_tower


@pytest.fixture(scope="module")
def trained(raw_mit_states, prepared, tmp_path_factory):
  """The workdir of a run of four steps."""
  config, workdir = tiny.config(raw_mit_states, prepared), tmp_path_factory.mktemp("trained") / "run"
  config.num_train_steps = config.eval_every_steps = 4
  train(config, workdir)
  return workdir


def test_the_first_lines_say_what_a_run_is(config, tmp_path):
  run = open_run(config, tmp_path / "run")
  state = newest_state(run)
  lines = dict(line.split(":", 1) for line in heading(run, state).splitlines())
  lines = {name: line.strip() for name, line in lines.items()}
  assert f"jax {jax.__version__}" in lines["Program"]
  assert lines["Devices"] == f"{jax.device_count()} x cpu"
  assert lines["Data"] == "mit_states: 18 training images; 24 queries in a gallery of 12 (test split)"
  size = sum(leaf.size for leaf in jax.tree.leaves(state.variables.params))
  assert lines["Model"] == f"compose_ae over resnet and lstm, {size:,} trained parameters"
  assert lines["Recipe"] == "batch_based_classification, sgd at 0.01 (step), batches of 8, 8 steps"
  assert lines["Workdir"] == f"{tmp_path}/run: starts from random parameters, seed 0"


def test_a_resumed_run_says_where_it_goes_on_before_it_compiles(trained, config, tmp_path, capsys):
  workdir = shutil.copytree(trained, tmp_path / "run")
  config.num_train_steps = 5
  train(config, workdir)
  printed = capsys.readouterr().err
  assert f"Workdir: {workdir}: resumes at step 4\n" in printed
  assert printed.index("resumes at step 4") < printed.index("Compiling the train step (about ")


def test_a_run_that_starts_from_another_names_it(trained, config, tmp_path):
  config.init_from = str(trained)
  run = open_run(config, tmp_path / "next")
  assert f"starts from the parameters of {trained}" in heading(run, newest_state(run))


def test_a_run_of_no_steps_says_what_is_evaluated(config, tmp_path):
  towers = tiny_tower.use(config, tiny_tower.make(tmp_path / "towers"))
  towers.model.image_encoder.feature_dim = 16
  towers.num_train_steps = 0
  run = open_run(towers, tmp_path / "run")
  state = newest_state(run)
  printed = heading(run, state)
  assert "Recipe:  no steps: the parameters are evaluated as they come\n" in printed
  size = sum(leaf.size for leaf in jax.tree.leaves(state.variables.params["composer"]))
  assert f"starts from {tmp_path}/towers, and {size:,} random parameters of the composer, seed 0" in printed


def test_an_evaluated_run_is_not_called_new(config, tmp_path):
  config.num_train_steps = 0
  train(config, tmp_path / "run")
  run = open_run(config, tmp_path / "run")
  assert heading(run, newest_state(run)).endswith("resumes at step 0")
