"""A state that is split over devices: by which rule, and as the same run as one that is not."""

import os
import pathlib
import subprocess
import sys

import jax
from jax.sharding import AbstractMesh, PartitionSpec
import numpy as np
import pytest
from safetensors.numpy import load_file

from composeret_jax.distributed import AXIS, part_or_whole
from composeret_jax.training.config.check import check_config
from data_pipelines.input_error import InputError

ROOT = pathlib.Path(__file__).parents[3]
WHOLE = PartitionSpec()


@pytest.mark.parametrize("shape, spec", [
  ((256, 256), PartitionSpec(AXIS)),
  ((256, 512), PartitionSpec(None, AXIS)),
  ((3, 3, 128, 64), PartitionSpec(None, None, AXIS)),
  ((128, 511), WHOLE),  # too small
  ((1023, 256), PartitionSpec(None, AXIS)),  # four devices do not divide the larger axis
  ((1023, 255), WHOLE),
  ((1026, 255), PartitionSpec(AXIS)),  # in two parts
  ((2**16,), PartitionSpec(AXIS)),
  ((), WHOLE),
])  # fmt: skip
def test_large_arrays_are_split_along_their_largest_axis_that_divides(shape, spec):
  mesh = AbstractMesh((4,), (AXIS,))
  assert part_or_whole(mesh, shape, split=True).spec == spec
  assert part_or_whole(mesh, shape, split=False).spec == WHOLE


def test_devices_that_an_axis_has_no_parts_for_have_copies():
  sharding = part_or_whole(AbstractMesh((256,), (AXIS,)), (1152, 4304), split=True)
  assert sharding.shard_shape((1152, 4304)) == (1152 // 128, 4304)
  assert sharding.mesh.axis_sizes == (2, 128)


def test_pmap_keeps_a_whole_state_on_each_device(config):
  config.parallel, config.parallel_state = "pmap", "split"
  with pytest.raises(InputError, match=r"parallel_state is 'split', expected replicated with parallel = pmap"):
    check_config(config, num_devices=1)
  config.parallel = "jit"
  check_config(config, num_devices=1)


def run(raw, prepared, workdir, num_devices, *arguments):
  """How many arrays of the state are split at the end of a run."""
  flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={num_devices}"
  environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
  command = [sys.executable, "-m", "tests.fakes.split_run", *map(str, (raw, prepared, workdir, *arguments))]
  done = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=1200)
  assert done.returncode == 0, done.stderr[-3000:]
  return int(done.stdout.split("SPLIT ")[1].split()[0])


@pytest.mark.slow
def test_a_run_goes_on_from_either_kind_of_state_on_any_number_of_devices(raw_mit_states, prepared, tmp_path):
  """Slow, for five processes train."""
  place = raw_mit_states, prepared
  assert run(*place, tmp_path / "one", 1, 6, "replicated", tmp_path / "one_bundle") == 0
  many = tmp_path / "many"
  assert run(*place, many, 4, 2, "split") > 20
  assert run(*place, many, 1, 4, "replicated") == 0
  assert run(*place, many, 2, 5, "replicated") == 0
  assert run(*place, many, 2, 6, "split", tmp_path / "many_bundle") > 20
  expected, found = (
    {file.name: load_file(file) for file in sorted((tmp_path / f"{name}_bundle").glob("*.safetensors"))}
    for name in ("one", "many")
  )
  assert expected and expected.keys() == found.keys()
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), expected, found)
