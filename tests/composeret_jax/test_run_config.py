import pytest

from composeret_jax.run_config import check_config, check_same_run, config_from_json, config_to_json
from data_pipelines.input_error import InputError


def test_all_mistakes_are_named_at_once(config):
  config.data.image_size = 0
  config.loss = "triplet"
  config.batch_size = 9
  config.profile_steps = "15:10"
  with pytest.raises(InputError) as error:
    check_config(config, num_devices=2)
  lines = str(error.value).splitlines()
  assert len(lines) == 4
  assert "config.loss is 'triplet', expected one of batch_based_classification, soft_triplet" in lines
  assert "config.data.image_size is 0, expected at least 1" in lines
  assert "config.profile_steps: '15:10' is not FIRST:STOP, as 10:15 for steps 10 to 14" in lines
  assert "config.batch_size is 9, expected a multiple of the 2 devices" in lines


def test_a_good_configuration_passes(config):
  check_config(config, num_devices=1)


def test_another_learning_rate_is_another_run(config):
  saved = config_from_json(config_to_json(config))
  config.learning_rate = 0.5
  config.model.image_encoder.stage_sizes = (2,)
  with pytest.raises(InputError) as error:
    check_same_run(saved, config, "runs/a/20")
  message = str(error.value)
  assert "runs/a/20" in message
  assert "config.learning_rate: 0.01 in the checkpoint, 0.5 now" in message
  assert "config.model.image_encoder.stage_sizes: (1,) in the checkpoint, (2,) now" in message


def test_a_longer_run_and_other_folders_are_the_same_run(config):
  saved = config_from_json(config_to_json(config))
  config.num_train_steps += 100
  config.data.dir = "/elsewhere"
  config.eval.batch_size += 1
  check_same_run(saved, config, "runs/a/20")


def test_a_cosine_ends_where_the_run_was_to_end(config):
  config.decay = "cosine"
  saved = config_from_json(config_to_json(config))
  config.num_train_steps += 100
  with pytest.raises(InputError, match=r"config\.num_train_steps: 8 in the checkpoint, 108 now"):
    check_same_run(saved, config, "runs/a/20")


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"optimizer": "adam"}, "config.optimizer is 'adam', expected one of sgd, adamw, lars, lamb"),
    ({"learning_rate_scaling": "root"}, "config.learning_rate_scaling is 'root', expected one of none, linear, "),
    ({"num_warmup_steps": 8}, "config.num_warmup_steps is 8, expected less than the 8 steps"),
    ({"ema_decay": 1.0}, "config.ema_decay is 1.0, expected at least 0 and below 1"),
    ({"max_gradient_norm": -1.0}, "config.max_gradient_norm is -1.0, expected at least 0"),
  ],
)
def test_an_optimizer_that_cannot_be_is_named(config, changes, message):
  config.update(changes)
  with pytest.raises(InputError) as error:
    check_config(config, num_devices=1)
  assert str(error.value).startswith(message)
