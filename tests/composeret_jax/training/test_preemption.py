"""Signals to runs in processes of their own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from composeret_jax.training.preemption import EXIT_CODE
from composeret_jax.training.train import train
from tests.composeret_jax.training.test_train import losses
from tests.fakes.slow import slow
from tests.test_launch import command, run

# A call that no signal interrupts, as many of libraries are.
STUCK = """
import ctypes, signal, sys
from composeret_jax.training.preemption import Preemption, SIGNALS
with Preemption(float(sys.argv[1])) as preemption:
  preemption.wait_for_steps()
  signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
  print("stuck", flush=True)
  ctypes.CDLL(None).sleep(120)
"""

LONG = ("--config.num_train_steps=4000", "--config.checkpoint_every_steps=4000", "--config.eval_every_steps=4000")


def start(arguments, **options):
  return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options)


def wait_for_steps(workdir, process, num=3):
  deadline = time.monotonic() + 240
  while time.monotonic() < deadline and process.poll() is None:
    file = workdir / "metrics.jsonl"
    if file.exists() and len(file.read_text().splitlines()) >= num:
      return
    time.sleep(0.02)
  process.kill()
  pytest.fail(process.communicate()[1])


def saved_steps(workdir):
  return sorted(int(path.name) for path in workdir.glob("checkpoints/*") if path.name.isdigit())


def stopped(process):
  """Its last words; fails unless it ended as a preempted run does."""
  _, errors = process.communicate(timeout=120)
  assert process.returncode == EXIT_CODE, errors[-3000:]
  return errors


@pytest.mark.slow  # runs in processes of their own
@pytest.mark.parametrize("number", [signal.SIGTERM, slow(signal.SIGINT)])
def test_a_run_that_is_asked_to_end_saves_its_step_and_goes_on_to_the_bit(
  raw_mit_states, prepared, config, tmp_path, number
):
  arguments = command(raw_mit_states, prepared, *LONG, workdir=tmp_path / "run")
  process = start(arguments)
  wait_for_steps(tmp_path / "run", process)
  process.send_signal(number)
  errors = stopped(process)
  (step,) = saved_steps(tmp_path / "run")
  assert f"Stopped by {number.name} after step {step:,}" in errors
  assert list(losses(tmp_path / "run")) == list(range(1, step + 1))

  config.num_train_steps, config.checkpoint_every_steps = step + 3, 4000
  train(config, tmp_path / "run")
  train(config, tmp_path / "whole")
  assert losses(tmp_path / "run") == losses(tmp_path / "whole")


def test_a_signal_before_the_first_step_ends_at_once(raw_mit_states, prepared, tmp_path):
  process = start(command(raw_mit_states, prepared, *LONG, workdir=tmp_path / "run"))
  while not (tmp_path / "run/.lock").exists() and process.poll() is None:
    time.sleep(0.01)
  process.send_signal(signal.SIGTERM)
  stopped(process)
  assert saved_steps(tmp_path / "run") in ([], [1])


def stuck(grace_seconds):
  process = subprocess.Popen([sys.executable, "-c", STUCK, str(grace_seconds)], stdout=subprocess.PIPE, text=True)
  assert process.stdout.readline() == "stuck\n"
  for _ in range(2):  # as `timeout` does: to the process, and to its group
    process.send_signal(signal.SIGTERM)
    time.sleep(0.01)
  return process


def test_a_second_signal_ends_a_step_that_does_not_end():
  process = stuck(grace_seconds=100)
  with pytest.raises(subprocess.TimeoutExpired):
    process.wait(1.0)
  process.send_signal(signal.SIGINT)
  assert process.wait(20) == EXIT_CODE


def test_the_end_of_the_grace_period_ends_a_step_that_does_not_end():
  start = time.monotonic()
  process = stuck(grace_seconds=1.5)
  assert process.wait(20) == EXIT_CODE
  assert time.monotonic() - start > 1.5


def assert_gone(leader):
  """That no process of its group is left."""
  deadline = time.monotonic() + 30
  with pytest.raises(ProcessLookupError):
    while time.monotonic() < deadline:
      os.killpg(leader.pid, 0)
      time.sleep(0.1)


@pytest.fixture
def decoding(raw_mit_states, prepared, tmp_path):
  """A run whose images are decoded by two processes, all of them in a group of their own."""
  arguments = command(
    raw_mit_states,
    prepared,
    *LONG,
    "--config.data.pixels=decode",
    "--config.data.num_workers=2",
    workdir=tmp_path / "run",
  )
  process = start(arguments, start_new_session=True)
  yield process
  with contextlib.suppress(ProcessLookupError):
    os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow  # a run in a process of its own
@pytest.mark.parametrize("number", [signal.SIGTERM, slow(signal.SIGINT)])
def test_a_signal_to_the_whole_group_leaves_the_workers_to_the_run(decoding, tmp_path, number):
  wait_for_steps(tmp_path / "run", decoding)
  os.killpg(decoding.pid, number)
  errors = stopped(decoding)
  (step,) = saved_steps(tmp_path / "run")
  assert f"Stopped by {number.name} after step {step:,}" in errors
  assert "Traceback" not in errors and "KeyboardInterrupt" not in errors
  assert_gone(decoding)


@pytest.mark.slow  # a run in a process of its own
def test_the_workers_of_a_killed_run_leave(decoding, tmp_path):
  wait_for_steps(tmp_path / "run", decoding)
  decoding.kill()
  decoding.wait()
  assert_gone(decoding)


@pytest.mark.slow
def test_two_processes_stop_at_one_step_and_go_on(raw_mit_states, prepared, tmp_path):
  def both(workdir, *overrides):
    with socket.socket() as probe:
      probe.bind(("localhost", 0))
      address = f"localhost:{probe.getsockname()[1]}"
    flags = [f"--coordinator_address={address}", "--num_processes=2"]
    arguments = command(raw_mit_states, prepared, *LONG, *overrides, workdir=workdir)
    return [start([*arguments, *flags, f"--process_id={i}"]) for i in range(2)]

  processes = both(tmp_path / "run")
  wait_for_steps(tmp_path / "run", processes[0])
  processes[1].send_signal(signal.SIGTERM)
  errors = [stopped(process) for process in processes]
  (step,) = saved_steps(tmp_path / "run")
  assert f"Stopped by SIGTERM after step {step:,}" in errors[1]
  assert f"Stopped by a signal to another process after step {step:,}" in errors[0]

  end = f"--config.num_train_steps={step + 3}"
  for workdir in (tmp_path / "run", tmp_path / "whole"):
    for process in both(workdir, end):
      _, errors = process.communicate(timeout=240)
      assert process.returncode == 0, errors[-3000:]
  assert losses(tmp_path / "run") == losses(tmp_path / "whole")


@pytest.mark.slow  # runs in processes of their own
def test_a_second_run_in_a_workdir_is_refused(raw_mit_states, prepared, tmp_path):
  arguments = command(raw_mit_states, prepared, *LONG, workdir=tmp_path / "run")
  process = start(arguments)
  wait_for_steps(tmp_path / "run", process)
  before = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[0])
  second = run(arguments)
  process.send_signal(signal.SIGTERM)
  stopped(process)
  assert second.returncode == 1
  assert "is used by another run: it is training there now" in second.stderr
  assert "Traceback" not in second.stderr
  assert json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[0]) == before
