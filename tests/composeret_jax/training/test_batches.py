import pytest

from composeret_jax.training.batches import resident_placement


@pytest.mark.parametrize(
  ("memory", "jit", "pmap"),
  [(2000, "whole", "whole"), (1999, "split", None), (500, "split", None), (499, None, None)],
)
def test_images_are_held_whole_or_split_by_the_share_of_a_devices_memory(config, memory, jit, pmap):
  config.data.device_memory_share = 0.5
  assert resident_placement(config, 4, 1000, memory) == jit
  config.parallel = "pmap"
  assert resident_placement(config, 4, 1000, memory) == pmap
