"""CLIP4Cir's two stages as configurations."""

import pytest

from composeret_jax.config_check import check_config
from configs import clip4cir_combiner, clip4cir_finetune, models
from data_pipelines.input_error import InputError

STAGES = {"finetune": clip4cir_finetune, "combiner": clip4cir_combiner}


@pytest.mark.parametrize("stage", STAGES)
def test_what_does_not_concern_towers_goes_together(stage):
  config = STAGES[stage].get_config("towers")
  encoders = models.get_config("sum")
  config.model.image_encoder, config.model.text_encoder = encoders.image_encoder, encoders.text_encoder
  try:
    check_config(config, num_devices=2)
  except InputError as error:
    assert {line.split()[0] for line in str(error).splitlines()} <= {"config.data.interpolation"}


def test_the_first_stage_trains_the_towers_and_the_second_keeps_them():
  for stage, trained in (("finetune", True), ("combiner", False)):
    model = STAGES[stage].get_config("stage1/towers").model
    assert model.image_encoder.pretrained == model.text_encoder.path == "stage1/towers"
    assert model.image_encoder.frozen is not trained and model.text_encoder.fine_tune is trained
    assert not model.image_encoder.feature_dim and not model.text_encoder.projection_dim
    assert (model.radius, model.train_radius) == (10.0, False)
