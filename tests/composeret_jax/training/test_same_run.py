import pytest

from composeret_jax.training.config.same_run import check_same_run, config_from_json, config_on_data, config_to_json
from data_pipelines.input_error import InputError


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


def test_another_data_set_takes_the_training_of_the_checkpoint_without_its_negatives(config):
  saved = config_from_json(config_to_json(config))
  saved.learning_rate, saved.hard_negatives.every_steps = 0.5, 10
  config.data.dataset = "circo"
  found = config_on_data(saved, config, "runs/a/20")
  assert (found.learning_rate, found.hard_negatives.every_steps, found.data.dataset) == (0.5, 0, "circo")
  config.data.image_size += 1
  with pytest.raises(InputError, match=r"config\.data\.image_size: 16 in the checkpoint, 17 now"):
    config_on_data(saved, config, "runs/a/20")


def test_what_was_trained_is_evaluated_though_nothing_is_trained_on_the_other_data_set(config):
  saved = config_from_json(config_to_json(config))
  saved.model.image_encoder.frozen, saved.model.text_encoder.fine_tune = False, True
  config.model.image_encoder.frozen, config.model.text_encoder.fine_tune = True, False
  found = config_on_data(saved, config, "runs/a/20")
  assert not found.model.image_encoder.frozen and found.model.text_encoder.fine_tune


@pytest.mark.parametrize("field", ["words", "embedding_dim", "feature_dim"])
def test_fields_of_the_lstm_bind_the_lstm_alone(config, field):
  saved = config_from_json(config_to_json(config))
  config.model.text_encoder[field] = "unicode" if field == "words" else 99
  with pytest.raises(InputError, match=rf"config\.model\.text_encoder\.{field}: "):
    check_same_run(saved, config, "runs/a/20")
  saved.model.text_encoder.name = config.model.text_encoder.name = "tower"
  check_same_run(saved, config, "runs/a/20")


def test_a_checkpoint_from_before_a_field_was_there_is_told_from_others_by_the_field(config):
  saved = config_from_json(config_to_json(config))
  del saved.data.resize, saved.hard_negatives, saved.model.radius
  with pytest.raises(InputError, match=r"config\.model\.radius: absent in the checkpoint, 4\.0 now"):
    config_on_data(saved, config, "runs/a/20")
