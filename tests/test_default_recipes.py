"""What a model is trained with where flags say nothing else."""

import pytest

from benchmarks.one_program import read_config
from composeret_jax.train_step.optimizers import learning_rate_schedule
from configs import catalogue, fashion200k, fashion_iq, lincir, mit_states, recipes


def test_the_rotor_alone_has_a_recipe_of_its_own():
  rotor, published = mit_states.get_config("rotor"), mit_states.get_config("compose_ae")
  assert (rotor.loss, rotor.optimizer, rotor.data.siblings_per_batch) == ("info_nce", "adamw", rotor.batch_size // 4)
  assert (published.loss, published.optimizer, published.data.siblings_per_batch) == (
    "batch_based_classification",
    "sgd",
    0,
  )
  assert fashion_iq.get_config("rotor").data.siblings_per_batch == 0
  assert catalogue.get_config("rotor").data.siblings_per_batch == 0
  assert fashion200k.get_config("rotor").data.dataset in recipes.WITH_SIBLINGS


@pytest.mark.parametrize(
  ("flags", "expected"),
  [
    ([], (16, 40)),
    (["--config.batch_size=32", "--config.num_train_steps=1500"], (8, 150)),
    (["--config.num_train_steps=0"], (16, 0)),
    (["--config.data.siblings_per_batch=0", "--config.num_warmup_steps=7", "--config.num_train_steps=50"], (0, 7)),
  ],
)
def test_the_rotors_recipe_follows_the_flags(flags, expected):
  config = read_config(["--config=configs/shapes.py:rotor", *flags])
  assert (config.data.siblings_per_batch, config.num_warmup_steps) == expected


def test_lincirs_rate_is_constant_however_long_the_run():
  config = lincir.get_config()
  schedule = learning_rate_schedule(config)
  for step in (0, config.num_train_steps, 10 * config.num_train_steps):
    assert float(schedule(step)) == pytest.approx(config.learning_rate)
