"""Five steps from one state, however they are run: one device, several, several processes, several steps a call."""

import itertools
import json
import os
import pathlib
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.distributed import data_mesh
from composeret_jax.train_step.losses import LOSSES as LOSSES_BY_NAME
from composeret_jax.train_step.parallel import Parallel

ROOT = pathlib.Path(__file__).parents[3]
LOSSES = ("batch_based_classification", "soft_triplet")
OTHER_LOSSES = ("info_nce", "sigmoid")
FOUR = {"num_devices": 4}
SAME_AS_ONE = {
  "four devices under jit": FOUR,
  "four devices under pmap": FOUR | {"kind": "pmap"},
  "five steps a call, images on the devices": FOUR | {"steps_per_call": 5, "resident": True},
  "the same under pmap": FOUR | {"steps_per_call": 5, "resident": True, "kind": "pmap"},
}
PARALLEL = ("four devices under jit", "four devices under pmap")
# Batch norm sees one microbatch at a time, and changes the result: here without.
SAME_WITHOUT_NORM = {
  "four microbatches": {"num_microbatches": 4},
  "two microbatches of four devices": FOUR | {"num_microbatches": 2},
  "two microbatches under pmap": FOUR | {"num_microbatches": 2, "kind": "pmap"},
}
MINED = {"num_negatives": 2, "resident": True, "loss": LOSSES[0]}
SAME_WITH_NEGATIVES = {
  "negatives on four devices": FOUR,
  "negatives under pmap": FOUR | {"kind": "pmap"},
  "negatives in microbatches": FOUR | {"num_microbatches": 2, "batch_norm": False},
}


def start(cases, num_devices, *arguments, module="five_steps"):
  environment = os.environ | {
    "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={num_devices}",
    "JAX_PLATFORMS": "cpu",
  }
  command = [sys.executable, "-m", f"tests.fakes.{module}", json.dumps(cases), *arguments]
  return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def results(process):
  output, errors = process.communicate(timeout=1800)
  assert process.returncode == 0, errors[-3000:]
  return json.loads(output.split("RESULT ")[1])


@pytest.fixture(scope="module")
def results_of():
  """The results of every case, by loss and name."""
  cases = {(loss, name): case | {"loss": loss} for loss in LOSSES for name, case in {"one": {}, **SAME_AS_ONE}.items()}
  for name, case in {"one": {}, **SAME_WITHOUT_NORM}.items():
    cases["without norm", name] = case | {"loss": LOSSES[0], "batch_norm": False}
  for name, case in SAME_WITH_NEGATIVES.items():
    cases["negatives", name] = MINED | case
  cases["negatives", True] = MINED
  cases["negatives", False] = MINED | {"batch_norm": False}
  for loss, name in itertools.product(OTHER_LOSSES, ("one", *PARALLEL)):
    cases[loss, name] = SAME_AS_ONE.get(name, {}) | {"loss": loss, "batch_norm": False}
  return dict(zip(cases, results(start(list(cases.values()), 4)), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", SAME_AS_ONE)
def test_it_is_as_on_one_device(results_of, loss, name):
  np.testing.assert_allclose(results_of[loss, name], results_of[loss, "one"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("loss", OTHER_LOSSES)
@pytest.mark.parametrize("name", PARALLEL)
def test_the_other_losses_too_see_the_batch_of_all_devices(results_of, loss, name):
  np.testing.assert_allclose(results_of[loss, name], results_of[loss, "one"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAME_WITHOUT_NORM)
def test_microbatches_change_nothing_without_batch_norm(results_of, name):
  np.testing.assert_allclose(results_of["without norm", name], results_of["without norm", "one"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name, case", SAME_WITH_NEGATIVES.items())
def test_hard_negatives_are_as_on_one_device(results_of, name, case):
  expected = results_of["negatives", case.get("batch_norm", True)]
  np.testing.assert_allclose(results_of["negatives", name], expected, rtol=1e-5)
  assert abs(expected[0] - results_of[LOSSES[0], "one"][0]) > 0.1


WAYS = {
  f"{kind}{' in blocks' * in_blocks}": FOUR | {"kind": kind, "block_rows": int(in_blocks)}
  for kind, in_blocks in itertools.product(("jit", "pmap"), (False, True))
}
WAYS |= {f"{way}, state split": WAYS[way] | {"split_from": 64} for way in ("jit", "jit in blocks")}
EVERY_LOSS = (*LOSSES, *OTHER_LOSSES)
TAKING_NEGATIVES = [loss for loss in EVERY_LOSS if LOSSES_BY_NAME[loss].takes_hard_negatives]


@pytest.mark.parametrize("steps_per_call", [1, 2])
def test_rows_go_to_pmaps_devices_without_a_copy(monkeypatch, steps_per_call):
  given = []
  monkeypatch.setattr(jax, "make_array_from_process_local_data", lambda _, rows: given.append(rows) or jnp.zeros(()))
  rows = np.zeros((2, 6, 3) if steps_per_call > 1 else (6, 3))
  Parallel("pmap", data_mesh(), steps_per_call).place(rows)
  assert given[0].shape == (1, *rows.shape) and np.shares_memory(given[0], rows)


@pytest.fixture(scope="module")
def parameter_differences():
  """Between one device and four, for each loss, with and without negatives, and each way of running it."""
  names = [(loss, False) for loss in EVERY_LOSS] + [(loss, True) for loss in TAKING_NEGATIVES]
  pairs = {}
  for (loss, mined), (way, case) in itertools.product(names, WAYS.items()):
    # Small steps, which do not blow up the rounding errors of the first ones.
    one = (MINED if mined else {}) | {"loss": loss, "batch_norm": False, "learning_rate": 0.001}
    pairs[loss, mined, way] = one, one | case
  # Without batch norm there is little to compile, but there are 42 steps to be compiled.
  found = results(start(list(pairs.values()), 4, module="same_parameters"))
  return dict(zip(pairs, found, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
  "loss, mined", [*((loss, False) for loss in EVERY_LOSS), *((loss, True) for loss in TAKING_NEGATIVES)]
)
def test_parameters_after_five_steps_are_those_of_one_device(parameter_differences, loss, mined, way):
  assert parameter_differences[loss, mined, way] <= 1e-6


@pytest.mark.slow
def test_two_processes_with_two_devices_each_are_as_one_device(results_of):
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    address = f"localhost:{probe.getsockname()[1]}"
  cases = [*({"loss": loss, "num_devices": 4} for loss in LOSSES), MINED | FOUR, MINED | FOUR | {"split_from": 64}]
  processes = [start(cases, 2, address, "2", str(i)) for i in range(2)]
  for process in processes:
    expected = [*(results_of[loss, "one"] for loss in LOSSES), *2 * [results_of["negatives", True]]]
    np.testing.assert_allclose(results(process), expected, rtol=1e-5)
