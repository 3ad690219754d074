import pytest

from composeret_jax.training.checkpoints import Checkpoints
from composeret_jax.training.workdir.chosen_step import chosen_step
from data_pipelines.input_error import InputError
from tests.composeret_jax.training.test_checkpoints import save


@pytest.fixture
def checkpoints(config, tmp_path):
  config.num_newest_checkpoints = 9
  save(tmp_path, config, {1: 0.2, 2: 0.9, 3: None, 4: 0.9, 5: 0.3})
  return Checkpoints(tmp_path, config, {})


def test_the_best_and_every_step_can_be_chosen(checkpoints):
  assert chosen_step(checkpoints, "best") == 4  # the newest of two with the same metric
  assert chosen_step(checkpoints, "3") == 3


@pytest.mark.parametrize(
  ("choice", "message"),
  [
    ("7", r"--checkpoint_step=7: .*/checkpoints has checkpoints of the steps 1, 2, 3, 4, 5"),
    ("bset", "--checkpoint_step=bset, expected best or the number of a step"),
    ("-1", "--checkpoint_step=-1, expected best"),
  ],
)
def test_what_is_not_there_is_refused(checkpoints, choice, message):
  with pytest.raises(InputError, match=message):
    chosen_step(checkpoints, choice)


def test_there_is_no_best_where_nothing_was_measured(config, tmp_path):
  save(tmp_path, config, {1: None, 2: None})
  with pytest.raises(InputError, match="no checkpoint in .* has config.best_metric=R@1"):
    chosen_step(Checkpoints(tmp_path, config, {}), "best")
