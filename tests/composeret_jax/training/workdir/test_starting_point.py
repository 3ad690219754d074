"""A run starts from another's parameters: all that fit by name and shape, and words by their spelling."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest

from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training.checkpoints import Checkpoints
from composeret_jax.training.config.check import check_config
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from data_pipelines.input_error import InputError
from tests.composeret_jax.training.test_checkpoints import save
from tests.fakes import tiny


def saved_state(config, workdir, step=3):
  """The first state of a run, saved, its optimiser's part moved so that an average differs from what it averages."""
  run = open_run(config, workdir)
  state = newest_state(run)
  state = dataclasses.replace(state, optimizer_state=jax.tree.map(lambda leaf: leaf + 1, state.optimizer_state))
  with run.checkpoints as checkpoints:
    checkpoints.save(step, state, {"R@1": 0.5})
  return state


@pytest.fixture
def other(config, tmp_path):
  """The state of a run, and the configuration of another one that starts from there."""
  state = saved_state(config, tmp_path / "other")
  config.seed, config.init_from = 1, str(tmp_path / "other")
  return state, config


def flat(tree):
  return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def test_the_same_model_starts_from_all_of_it(other, tmp_path, capsys):
  state, config = other
  check_config(config, 1)
  started = newest_state(open_run(config, tmp_path / "new"))
  for found, expected in zip(started.variables[:2], state.variables[:2], strict=True):
    jax.tree.map(np.testing.assert_array_equal, found, expected)
  assert int(started.step) == 0
  num = len(jax.tree.leaves(state.variables[:2]))
  assert f"{num} arrays start as those of {tmp_path}/other/checkpoints/3\n" in capsys.readouterr().err


def test_what_does_not_fit_is_listed_and_stays(other, tmp_path, capsys):
  state, config = other
  config.model.text_encoder.feature_dim = 12
  started = newest_state(open_run(config, tmp_path / "new"))
  said = capsys.readouterr().err
  assert "text_encoder.head.kernel is [8, 8] there and [12, 12] here" in said
  now, then = flat(started.variables.params), flat(state.variables.params)
  assert now.keys() == then.keys()
  for name, value in now.items():
    if value.shape == then[name].shape:
      np.testing.assert_array_equal(value, then[name])
    else:
      assert name[2:-2].replace("']['", ".") in said


def test_words_keep_their_embeddings(other, tmp_path, capsys):
  state, config = other
  there = open_run(config, tmp_path / "other_words").sources["words"]
  config.data.dir = str(tiny.make_mit_states(tmp_path / "dogs"))
  for folder in (tmp_path / "dogs" / "images").glob("* cat"):
    folder.rename(folder.with_name(folder.name.replace("cat", "dog")))
  run = open_run(config, tmp_path / "new")
  words = run.sources["words"]
  assert "dog" in words and "dog" not in there
  assert "cat" in there and words[: len(there)] == there  # the new texts lack a word that the model knows
  own = np.asarray(run.model.text_encoder.embedding[...])
  now, then = newest_state(run).variables.params["text_encoder"]["embedding"], state.variables.params
  for row, word in enumerate(words, start=1):
    expected = then["text_encoder"]["embedding"][there.index(word) + 1] if word in there else own[row]
    np.testing.assert_array_equal(now[row], expected)
  assert f"{len(set(words) & set(there))} of {len(words)} words are known there" in capsys.readouterr().err


def test_an_average_is_what_is_started_from(config, tmp_path):
  config.ema_decay = 0.5
  state = saved_state(config, tmp_path / "other")
  config.ema_decay, config.init_from = 0.0, str(tmp_path / "other")
  started = newest_state(open_run(config, tmp_path / "new")).variables
  jax.tree.map(np.testing.assert_array_equal, started.params, evaluated_variables(state).params)
  moved = jax.tree.map(lambda a, b: bool((np.asarray(a) != b).any()), started.params, state.variables.params)
  assert all(jax.tree.leaves(moved))


def test_a_run_that_has_begun_reads_nothing_from_there(other, tmp_path):
  _, config = other
  started = saved_state(config, tmp_path / "new")
  shutil.rmtree(tmp_path / "other")
  again = newest_state(open_run(config, tmp_path / "new"))
  jax.tree.map(np.testing.assert_array_equal, again.variables.params, started.variables.params)


@pytest.mark.parametrize(
  ("step", "message"),
  [
    ("", r"has no array that fits this model by name and shape"),
    ("best", r"has no array that fits"),
    ("7", r"config.init_from_step=7: .*/checkpoints has checkpoints of the steps 3"),
    ("bset", "config.init_from_step=bset, expected best or"),
  ],
)
def test_a_run_that_does_not_fit_or_a_step_that_is_not_there_is_refused(config, tmp_path, step, message):
  save(tmp_path / "other", config, {3: 0.5})
  config.init_from, config.init_from_step = str(tmp_path / "other"), step
  with pytest.raises(InputError, match=message):
    newest_state(open_run(config, tmp_path / "new"))


def test_no_checkpoint_and_a_damaged_one_are_refused(config, tmp_path):
  config.init_from = str(tmp_path / "other")
  with pytest.raises(InputError, match=r"config\.init_from=.*/other has no checkpoint"):
    newest_state(open_run(config, tmp_path / "new"))
  assert not (tmp_path / "other").exists()
  save(tmp_path / "other", config, {3: 0.5})
  file = Checkpoints(tmp_path / "other", config, {}).path(3) / "state" / "manifest.ocdbt"
  file.write_bytes(file.read_bytes()[:-1])
  with pytest.raises(InputError, match=r"config\.init_from: .*checkpoints/3 is damaged: .*init_from_step chooses"):
    newest_state(open_run(config, tmp_path / "new"))
