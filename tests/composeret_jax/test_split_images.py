"""Training images of which each device holds a part."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.composeret_jax.train_step.test_parallel import FOUR

ON_FOUR_DEVICES = """
import dataclasses, json, sys
import jax
import numpy as np
from composeret_jax.distributed import data_mesh, SplitRows
from composeret_jax.training import batches
from composeret_jax.training.profiling import program_flops
from data_pipelines.pixels.store import PixelStore
from tests.fakes import five_steps, tiny

mesh, rng = data_mesh(), np.random.default_rng(0)
assert mesh.size == 4
for array in (rng.integers(0, 256, (50, 3, 3), np.uint8), rng.standard_normal((49, 5), np.float32)):
  split, rows = SplitRows.of(array, mesh), rng.integers(0, len(array), 16).astype(np.int32)
  rows[:2] = 0, len(array) - 1
  gather = jax.jit(lambda split, rows: split[rows])
  np.testing.assert_array_equal(gather(split, rows), array[rows])
  assert len(split) == len(array)
  assert {part.data.shape[0] for part in split.parts.addressable_shards} == {13}
  assert "all-gather" in (program := gather.lower(split, rows).compile().as_text())
  assert not [line for line in program.splitlines() if " all-gather(" in line and "s32[16]" not in line]  # the rows

  product = lambda split, rows: split[rows].reshape(16, -1) @ np.ones((array[0].size, 2), np.float32)
  assert program_flops(product, split, rows) >= 16 * 2 * 2 * array[0].size

config = tiny.config("unused", "unused")
config.data.placement = "device"
np.save(sys.argv[2], rng.integers(0, 256, (50, 3, 3, 3), np.uint8))
dataset = type("Dataset", (), {"train_pixels": PixelStore(sys.argv[2])})
batches.device_memory = lambda mesh: 2000  # the images take 1,350 bytes
found = {}
for kind, share in (("jit", 0.1), ("jit", 0.5), ("pmap", 0.5), ("jit", 1.0)):
  config.parallel, config.data.device_memory_share = kind, share
  images = batches.resident_images(dataset, config, mesh)
  found[f"{kind} {share}"] = type(images).__name__
print("RESULT", json.dumps([found, *(five_steps.losses(**case) for case in json.loads(sys.argv[1]))]))
"""
SAME = {"loss": "batch_based_classification"} | FOUR
CASES = {
  "mined, in microbatches": SAME | {"num_negatives": 2, "num_microbatches": 2},
  "five steps a call": SAME | {"steps_per_call": 5},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
  cases = [case | {"resident": resident} for case in CASES.values() for resident in (True, "split")]
  environment = os.environ | {
    "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4",
    "JAX_PLATFORMS": "cpu",
  }
  store = str(tmp_path_factory.mktemp("store") / "store.npy")
  command = [sys.executable, "-c", ON_FOUR_DEVICES, json.dumps(cases), store]
  done = subprocess.run(command, env=environment, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  chosen, *losses = json.loads(done.stdout.rpartition("RESULT")[2])
  return chosen, dict(zip(CASES, zip(losses[::2], losses[1::2], strict=True), strict=True)), done.stderr


@pytest.mark.slow  # compiles steps for four devices
def test_steps_are_those_of_images_on_each_device(results):
  whole, split = results[1]["mined, in microbatches"]
  assert split == whole  # to the bit
  whole, split = results[1]["five steps a call"]
  np.testing.assert_allclose(split, whole, rtol=1e-6)  # of one program, whose operations XLA merges otherwise


@pytest.mark.slow  # by the same processes
def test_images_are_split_where_they_fit_no_device_but_all_of_them(results):
  chosen, _, said = results
  assert chosen == {"jit 0.1": "NoneType", "jit 0.5": "SplitRows", "pmap 0.5": "NoneType", "jit 1.0": "ArrayImpl"}
  assert "each of the 4 devices holds its part of them" in said
