"""Which changes are tried, in which order, on a compiler that is a rule."""

import dataclasses

import pytest

from composeret_jax.training.planning.report import Report
from composeret_jax.training.planning.suggest import possible_changes, suggestions

LARGE = Report(
  devices="made up",
  num_devices=2,
  batch_size=64,
  parallel="jit",
  num_parameters=1,
  memory_bytes_per_device=2**30,
  parameter_bytes_per_device=4,
  state_bytes_per_device=8,
  batch_bytes_per_device=1,
  fits=False,
  peak_bytes_per_device=2**31,
)
BLOCKS, PIECES, MORE_PIECES = {"loss_block_rows": 4}, {"train.num_microbatches": 4}, {"train.num_microbatches": 16}


@pytest.fixture
def large(config):
  config.batch_size = 64
  config.parallel_state = "split"
  return config


def fitting_when(is_small):
  """A compiler for which the step of a configuration fits when `is_small(config)`."""
  return lambda config: dataclasses.replace(LARGE, fits=is_small(config))


def changes(tried):
  return [dict(it.changes) for it in tried]


def test_each_change_is_tried_alone_when_one_suffices(large):
  tried = list(suggestions(large, 2, fitting_when(lambda config: config.train.num_microbatches == 16)))
  assert changes(tried) == [BLOCKS, PIECES, MORE_PIECES]
  assert [it.report.fits for it in tried] == [False, False, True]
  assert tried[2].as_text() == "--config.train.num_microbatches=16: peak 2.00 GiB of 1.00 GiB, fits"


def test_changes_are_added_up_until_they_suffice_together(large):
  def is_small(config):
    return config.train.num_microbatches >= 4 and config.loss_block_rows > 0

  assert changes(suggestions(large, 2, fitting_when(is_small)))[3:] == [BLOCKS | PIECES]


def test_nothing_more_is_tried_when_everything_together_is_too_large(large):
  tried = changes(suggestions(large, 2, fitting_when(lambda config: False)))
  assert tried[3:] == [BLOCKS | PIECES, BLOCKS | MORE_PIECES]


def test_the_configuration_stays_as_it_is(large):
  before = large.to_dict()
  list(suggestions(large, 2, fitting_when(lambda config: False)))
  assert large.to_dict() == before


def test_what_the_configuration_has_or_cannot_have_is_not_tried(large):
  large.loss_block_rows = 8
  large.train.num_microbatches = 4
  large.batch_size = 24
  assert possible_changes(large, 2) == []


def test_the_state_is_split_first_where_jit_has_several_devices(large):
  large.parallel_state = "replicated"
  assert possible_changes(large, 2)[0] == {"parallel_state": "split"}
  assert {"parallel_state": "split"} not in possible_changes(large, 1)
  large.parallel = "pmap"
  assert {"parallel_state": "split"} not in possible_changes(large, 2)


def test_trained_towers_alone_are_computed_again(large):
  large.model.image_encoder.update(name="tower", frozen=False)
  assert {"model.image_encoder.remat": True} in possible_changes(large, 2)
  large.model.image_encoder.frozen = True
  assert {"model.image_encoder.remat": True} not in possible_changes(large, 2)
