import dataclasses
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.models.variables import Variables
from composeret_jax.train_step.state import TrainState
from composeret_jax.training.checkpoints import Checkpoints, DamagedCheckpointError, WRITTEN_LAST

ROOT = pathlib.Path(__file__).parents[3]


def state(step):
  return TrainState(
    step=jnp.array(step, jnp.int32),
    variables=Variables(
      params={"layer": {"kernel": jnp.full((2, 3), step + 0.5)}},
      batch_stats={"mean": jnp.arange(3.0)},
      frozen={"table": jnp.arange(2.0)},
    ),
    optimizer_state=({"trace": jnp.full(4, -float(step))}, ()),
    key=jax.random.fold_in(jax.random.key(7), step),
    num_skipped=jnp.array(2 * step, jnp.int32),
    num_skipped_in_a_row=jnp.array(3 * step, jnp.int32),
    averaged_batch_stats={"mean": jnp.arange(3.0) + step},
    negatives={"rows": jnp.full((4, 1), step, jnp.int32), "labels": jnp.arange(4)},
  )


def save(workdir, config, recalls):
  with Checkpoints(workdir, config, {"words": ["old", "cat"]}) as checkpoints:
    for step, recall in recalls.items():
      checkpoints.save(step, state(step), None if recall is None else {"R@1": recall})


def test_the_newest_and_the_best_are_kept(config, tmp_path):
  config.num_newest_checkpoints = 2
  save(tmp_path, config, {1: 0.2, 2: 0.9, 3: None, 4: 0.3, 5: None})
  kept = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
  assert kept == [2, 4, 5]


def test_averaged_statistics_have_the_type_with_which_a_step_averages_them(config, tmp_path):
  like = dataclasses.replace(state(1), averaged_batch_stats=nnx.State({"mean": jnp.ones(3)}))
  with Checkpoints(tmp_path, config, {}) as checkpoints:
    checkpoints.save(1, like)
  with Checkpoints(tmp_path, config, {}) as checkpoints:
    restored = checkpoints.restore(1, like)
  assert jax.tree.structure(restored.averaged_batch_stats) == jax.tree.structure(like.averaged_batch_stats)


def test_the_best_is_kept_when_the_run_goes_on(config, tmp_path):
  config.num_newest_checkpoints = 1
  save(tmp_path, config, {1: 0.9, 2: 0.3})
  save(tmp_path, config, {3: None, 4: 0.5})
  assert sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir()) == [1, 4]


def test_a_checkpoint_without_the_metric_is_not_the_best(config, tmp_path):
  config.num_newest_checkpoints = 1
  save(tmp_path, config, {1: 0.9})
  config.best_metric = "rerank/R@1"
  with Checkpoints(tmp_path, config, {"words": ["old", "cat"]}) as checkpoints:
    for step, recall in ((2, 0.3), (3, 0.2)):
      checkpoints.save(step, state(step), {"R@1": 0.1, "rerank/R@1": recall})
  assert sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir()) == [2, 3]


def test_mined_negatives_are_left_alone_where_nothing_is_mined(config, tmp_path):
  save(tmp_path, config, {3: None})
  like = dataclasses.replace(state(0), negatives={})
  assert Checkpoints(tmp_path, config, {"words": ["old", "cat"]}).restore(3, like).negatives == {}


def test_without_averaged_statistics_their_average_starts_at_the_statistics(config, tmp_path, capsys):
  with Checkpoints(tmp_path, config, {}) as checkpoints:
    checkpoints.save(3, dataclasses.replace(state(3), averaged_batch_stats={}))
  restored = Checkpoints(tmp_path, config, {}).restore(3, state(0))
  np.testing.assert_array_equal(restored.averaged_batch_stats["mean"], state(3).variables.batch_stats["mean"])
  said = capsys.readouterr().err
  assert f"{tmp_path / 'checkpoints' / '3'} has no averaged batch statistics: the average starts at its own." in said


def test_everything_comes_back(config, tmp_path):
  save(tmp_path, config, {3: None})
  checkpoints = Checkpoints(tmp_path, config, {"words": ["old", "cat"]})
  restored = checkpoints.restore(3, state(0))
  assert jax.tree.structure(restored) == jax.tree.structure(state(3))
  for ours, saved in zip(jax.tree.leaves(restored), jax.tree.leaves(state(3)), strict=True):
    if jnp.issubdtype(saved.dtype, jax.dtypes.prng_key):
      ours, saved = jax.random.key_data(ours), jax.random.key_data(saved)
    np.testing.assert_array_equal(ours, saved)
  saved = checkpoints.made_with(3)
  assert saved.config.to_json() == config.to_json()
  assert saved.sources == {"words": ["old", "cat"]}


def test_the_latest_is_named(config, tmp_path):
  checkpoints = Checkpoints(tmp_path, config, {"words": []})
  assert checkpoints.describe_latest() == "no checkpoint yet"
  checkpoints.save(4, state(4))
  assert checkpoints.describe_latest() == f"last good checkpoint: {tmp_path}/checkpoints/4"


def test_a_state_of_another_shape_is_refused(config, tmp_path):
  save(tmp_path, config, {3: None})
  other = state(0)
  other.variables.params["layer"]["kernel"] = jnp.zeros((5, 5))
  with pytest.raises(DamagedCheckpointError, match="shape"):
    Checkpoints(tmp_path, config, {"words": []}).restore(3, other)


def test_a_checkpoint_has_checksums_as_soon_as_it_has_its_name(config, tmp_path):
  checkpoints = Checkpoints(tmp_path, config, {"words": []})
  folder = tmp_path / "checkpoints" / "3"
  checkpoints.save(3, state(3))
  while not folder.exists():
    time.sleep(0.001)
  assert (folder / "files.sha256").exists()
  checkpoints.check(3)


def damages(content):
  """A changed byte, half of it, nothing, no file."""
  middle = len(content) // 2
  return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :], content[:middle], b"", None


def test_a_changed_cut_or_missing_file_is_named(config, tmp_path):
  save(tmp_path, config, {3: None})
  folder = tmp_path / "checkpoints" / "3"
  checkpoints = Checkpoints(tmp_path, config, {"words": []})
  files = [
    file for file in folder.rglob("*") if file.is_file() and file.stat().st_size and file.name not in WRITTEN_LAST
  ]
  assert len(files) > 10
  for file in files:
    content = file.read_bytes()
    for damage in damages(content):
      file.unlink()
      if damage is not None:
        file.write_bytes(damage)
      with pytest.raises(DamagedCheckpointError, match="3 is damaged: "):
        checkpoints.check(3)
    file.write_bytes(content)
  checkpoints.check(3)


@pytest.mark.parametrize("name", WRITTEN_LAST)
def test_a_file_that_has_no_checksum_changes_no_state(config, tmp_path, name):
  save(tmp_path, config, {3: None})
  file = tmp_path / "checkpoints" / "3" / name
  for damage in damages(file.read_bytes()):
    file.unlink(missing_ok=True)
    if damage is not None:
      file.write_bytes(damage)
    try:
      checkpoints = Checkpoints(tmp_path, config, {"words": []})
      checkpoints.check(3)
      restored = checkpoints.restore(3, state(0))
    except DamagedCheckpointError:
      continue
    np.testing.assert_array_equal(
      restored.variables.params["layer"]["kernel"], state(3).variables.params["layer"]["kernel"]
    )


@pytest.mark.slow  # two processes; one alone does it in test_run_in_a_bucket.py
def test_two_processes_set_the_same_damaged_checkpoint_aside(tmp_path):
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    address = f"localhost:{probe.getsockname()[1]}"
  module = "tests.fakes.damaged_checkpoint"
  programs = [[sys.executable, "-m", module, address, str(i), str(tmp_path)] for i in range(2)]
  pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
  processes = [subprocess.Popen(program, env=os.environ | {"JAX_PLATFORMS": "cpu"}, **pipes) for program in programs]
  for process in processes:
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-3000:]
    (line,) = [line for line in output.splitlines() if line.startswith("SEEN ")]
    message, largest, steps, steps_at_the_end = json.loads(line.removeprefix("SEEN "))
    assert message.startswith(f"{tmp_path}/checkpoints/6 is damaged: state/")
    assert (largest, steps, steps_at_the_end) == (3.5, [3], [6, 3])
  assert [path.name.partition("-")[0] for path in (tmp_path / "damaged_checkpoints").iterdir()] == ["6"]
