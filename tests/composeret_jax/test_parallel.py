"""Five steps from one state, however they are run: one device, several, several processes, several steps a call."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
LOSSES = ("batch_based_classification", "soft_triplet")
ONE = {}
SAME_AS_ONE = {
  "four devices under jit": {"num_devices": 4},
  "four devices under pmap": {"num_devices": 4, "kind": "pmap"},
  "five steps a call": {"steps_per_call": 5},
  "five steps a call under pmap": {"num_devices": 4, "kind": "pmap", "steps_per_call": 5},
  "images on the device": {"resident": True},
  "images on four devices under pmap": {"num_devices": 4, "kind": "pmap", "resident": True},
}
# Batch norm sees one microbatch at a time, and changes the result: here without.
ONE_WITHOUT_NORM = {"batch_norm": False}
SAME_WITHOUT_NORM = {
  "four microbatches": {"batch_norm": False, "num_microbatches": 4},
  "two microbatches of four devices": {"batch_norm": False, "num_microbatches": 2, "num_devices": 4},
  "two microbatches under pmap": {"batch_norm": False, "num_microbatches": 2, "num_devices": 4, "kind": "pmap"},
}


def start(cases, num_devices, *arguments):
  environment = os.environ | {
    "XLA_FLAGS": f"--xla_force_host_platform_device_count={num_devices}", "JAX_PLATFORMS": "cpu",
  }  # fmt: skip
  command = [sys.executable, "-m", "tests.five_steps", json.dumps(cases), *arguments]
  return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def results(process):
  output, errors = process.communicate(timeout=600)
  assert process.returncode == 0, errors[-3000:]
  return json.loads(output.split("RESULT ")[1])


@pytest.fixture(scope="module")
def on_four_devices():
  """The results of every case by (loss, name)."""
  cases = {"one": ONE, "one without norm": ONE_WITHOUT_NORM, **SAME_AS_ONE, **SAME_WITHOUT_NORM}
  keys = [(loss, name) for loss in LOSSES for name in cases]
  process = start([{"loss": loss, **cases[name]} for loss, name in keys], 4)
  return dict(zip(keys, results(process), strict=True))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", SAME_AS_ONE)
def test_it_is_as_on_one_device(on_four_devices, loss, name):
  np.testing.assert_allclose(on_four_devices[loss, name], on_four_devices[loss, "one"], rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", SAME_WITHOUT_NORM)
def test_microbatches_change_nothing_without_batch_norm(on_four_devices, loss, name):
  np.testing.assert_allclose(on_four_devices[loss, name], on_four_devices[loss, "one without norm"], rtol=1e-5)


def test_losses_fall_and_differ(on_four_devices):
  whole = np.array([values for (_, name), values in on_four_devices.items() if name == "one"])
  assert len(np.unique(whole)) == whole.size


def test_two_processes_with_two_devices_each_are_as_one_device(on_four_devices):
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    address = f"localhost:{probe.getsockname()[1]}"
  cases = [{"loss": loss, "num_devices": 4} for loss in LOSSES]
  processes = [start(cases, 2, address, "2", str(i)) for i in range(2)]
  for process in processes:
    for loss, values in zip(LOSSES, results(process), strict=True):
      np.testing.assert_allclose(values, on_four_devices[loss, "one"], rtol=1e-5)
