"""The command line, as a user meets it: in a process of its own."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from composeret_jax.training.train import train
from tests.composeret_jax.training.test_train import losses

ROOT = pathlib.Path(__file__).parents[1]
FOUR_DEVICES = {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4"}


def command(raw_folder, prepared, *overrides, mode="train", workdir="unused"):
  """launch.py on the tiny data with the tiny model; `--config=...` first, then `overrides`."""
  tiny = [
    f"--config.data.dir={raw_folder}",
    f"--config.data.prepared_dir={prepared}",
    "--config.data.image_size=16",
    "--config.data.num_workers=0",
    "--config.model.image_encoder.width=4",
    "--config.model.image_encoder.stage_sizes=(1,)",
    "--config.model.image_encoder.feature_dim=16",
    "--config.model.text_encoder.embedding_dim=8",
    "--config.model.text_encoder.feature_dim=8",
    "--config.batch_size=8",
    "--config.num_train_steps=8",
    "--config.log_every_steps=1",
    "--config.checkpoint_every_steps=4",
    "--config.eval.batch_size=8",
  ]
  arguments = [f"--config={ROOT}/configs/mit_states.py", *tiny, *overrides, f"--mode={mode}", f"--workdir={workdir}"]
  return [sys.executable, str(ROOT / "launch.py"), *arguments]


def run(arguments, **environment):
  return subprocess.run(arguments, capture_output=True, text=True, env=os.environ | environment, timeout=240)


@pytest.mark.parametrize(
  ("override", "environment", "message"),
  [
    ("--config.lerning_rate=1", {}, 'Did you mean "learning_rate"'),
    ("--config.zzz=1", {}, "--config.zzz: config has no field 'zzz'; it has adam_b2, adam_epsilon, "),
    (
      "--config.eval.zzz=1",
      {},
      "--config.eval.zzz: config.eval has no field 'zzz'; it has allow_unanswerable_queries, ",
    ),
    ("--config.seed.zzz=1", {}, "--config.seed.zzz: config.seed is a value, and no group of fields"),
    ("--config.batch_size=many", {}, "--config.batch_size=many"),
    (f"--config={ROOT}/configs/mit_states.py:tigr", {}, "no model is called 'tigr'; expected one of compose_ae, tirg"),
    (f"--config={ROOT}/configs/mit_state.py", {}, "configs/mit_state.py"),
    ("--config.data.image_size=0", {}, "config.data.image_size is 0, expected at least 1"),
    (
      "--config.batch_size=9",
      FOUR_DEVICES,
      "config.batch_size is 9, expected a multiple of the 4 devices",
    ),
    ("--config.data.dir={empty}", {}, "has no folder images/ (found: nothing)"),
  ],
)
def test_a_mistake_is_one_message_without_a_traceback(
  raw_mit_states, prepared, tmp_path, override, environment, message
):
  (tmp_path / "empty").mkdir()
  override = override.format(empty=tmp_path / "empty")
  result = run(command(raw_mit_states, prepared, override, workdir=tmp_path / "run"), **environment)
  assert result.returncode != 0
  assert message in result.stderr
  assert "Traceback" not in result.stderr
  assert not (tmp_path / "run").exists()


def test_prepare_builds_the_data_with_a_progress_bar(raw_mit_states, tmp_path):
  result = run(command(raw_mit_states, tmp_path, mode="prepare"))
  assert result.returncode == 0, result.stderr
  assert "mit_states train images: 100%" in result.stderr
  assert list(tmp_path.glob("mit_states-*/mit_states/images/*/*array_record*"))


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_bit(raw_mit_states, prepared, config, tmp_path):
  train(config, tmp_path / "whole")
  arguments = command(raw_mit_states, prepared, workdir=tmp_path / "killed")
  process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
  deadline = time.monotonic() + 240
  while not (tmp_path / "killed/checkpoints/4").exists() and time.monotonic() < deadline:
    time.sleep(0.02)
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert process.returncode == -signal.SIGKILL
  result = run(arguments)
  assert result.returncode == 0, result.stderr
  assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


@pytest.mark.slow
def test_four_devices_train_as_one(raw_mit_states, prepared, config, tmp_path):
  train(config, tmp_path / "one")
  arguments = command(raw_mit_states, prepared, workdir=tmp_path / "four")
  result = run(arguments, **FOUR_DEVICES)
  assert result.returncode == 0, result.stderr
  one, four = losses(tmp_path / "one"), losses(tmp_path / "four")
  assert list(four.values())[:5] == pytest.approx(list(one.values())[:5], rel=1e-4)


def test_a_part_of_the_images_is_asked_for_by_its_number(raw_mit_states):
  arguments = ["--mode=index", "--bundle=b", "--index=milvus:i.db", f"--images={raw_mit_states}", "--shard=4/4"]
  result = run([sys.executable, str(ROOT / "launch.py"), *arguments])
  assert result.returncode != 0
  assert "error: --shard=4/4, expected NUMBER/COUNT" in result.stderr


@pytest.mark.parametrize("index", ["index", "milvus:{images}/gallery.db", "{images}/a/index"])
def test_an_index_among_the_images_is_refused(tmp_path, index):
  index = index.format(images=tmp_path) if "{" in index else f"{tmp_path}/{index}"
  arguments = ["--mode=index", "--bundle=b", f"--index={index}", f"--images={tmp_path}"]
  result = run([sys.executable, str(ROOT / "launch.py"), *arguments])
  assert result.returncode != 0
  assert f"is in --images={tmp_path}: what the program writes there would be read as data" in result.stderr
  assert not list(tmp_path.iterdir())


def test_a_runner_of_beam_prepares(raw_mit_states, tmp_path):
  result = run([*command(raw_mit_states, tmp_path, mode="prepare"), "--beam_runner=NoRunner"])
  assert result.returncode != 0
  assert "error: --beam_runner" in result.stderr
  assert "Traceback" not in result.stderr
