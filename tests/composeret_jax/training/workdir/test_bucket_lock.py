import json
import subprocess
import sys
import threading
import time

import pytest

from composeret_jax.training.workdir import bucket_lock
from composeret_jax.training.workdir.bucket_lock import BucketLock
from composeret_jax.training.workdir.lock import locked
from composeret_jax.training.workdir.lock_owner import is_running, this_process
from data_pipelines.input_error import InputError
from data_pipelines.paths import path_or_address

ELSEWHERE = {"host": "other", "process": 7, "started": "1", "system": "another boot", "token": "theirs"}
DEAD = "from composeret_jax.training.workdir.lock_owner import this_process; print(repr(this_process()))"


@pytest.fixture
def workdir(bucket):
  return path_or_address(f"{bucket}/run", "--workdir")


@pytest.fixture
def impatient(monkeypatch):
  monkeypatch.setattr(bucket_lock, "PATIENCE_SECONDS", 0.5)
  monkeypatch.setattr(bucket_lock, "LOOK_SECONDS", 0.02)
  monkeypatch.setattr(bucket_lock, "RENEW_SECONDS", 0.1)


def owner_of(workdir):
  return json.loads((workdir / ".lock").read_bytes())


def write_owner(workdir, owner):
  (workdir / ".lock").write_bytes(json.dumps(owner).encode())


def test_a_bucket_is_held_by_one_run_and_left_empty(workdir):
  with locked(workdir):
    assert owner_of(workdir)["process"] == this_process()["process"]
    with pytest.raises(InputError, match=r"is used by another run: .* \(process \d+ on "), locked(workdir):
      pass
  assert not (workdir / ".lock").exists()
  with locked(workdir):
    pass


def test_of_runs_that_start_together_one_gets_the_lock(workdir):
  held, refused = [], []

  def take():
    try:
      held.append(BucketLock(workdir / ".lock", "is used"))
    except InputError as error:
      refused.append(str(error))

  threads = [threading.Thread(target=take) for _ in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(held) == 1
  assert len(refused) == 7
  held[0].release()


def test_a_process_killed_on_this_machine_is_known_at_once(workdir):
  output = subprocess.run([sys.executable, "-c", DEAD], capture_output=True, check=True, text=True).stdout
  killed = eval(output) | {"token": "theirs"}
  assert is_running(this_process())
  assert is_running(killed) is False
  write_owner(workdir, killed)
  start = time.monotonic()
  with locked(workdir):
    assert owner_of(workdir)["process"] == this_process()["process"]
  assert time.monotonic() - start < bucket_lock.PATIENCE_SECONDS / 10


def test_a_process_number_that_is_in_use_again_is_another_process(workdir):
  assert is_running(this_process() | {"started": "1"}) is False


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("record", [json.dumps(ELSEWHERE), "no record", "[1]"])
def test_a_lock_that_nobody_renews_is_taken_over(workdir, capsys, record):
  (workdir / ".lock").write_bytes(record.encode())
  start = time.monotonic()
  with locked(workdir):
    assert time.monotonic() - start >= 0.5
    assert owner_of(workdir)["process"] == this_process()["process"]
  assert "It is watched for 0 s: if it is not renewed, that run was killed" in capsys.readouterr().err


@pytest.mark.usefixtures("impatient")
def test_a_lock_that_is_renewed_elsewhere_is_refused(workdir):
  write_owner(workdir, ELSEWHERE)
  renewing = threading.Timer(0.2, write_owner, (workdir, ELSEWHERE | {"renewals": 1}))
  renewing.start()
  with pytest.raises(InputError, match=r"is used by another run: .* \(process 7 on other\)"), locked(workdir):
    pass
  assert owner_of(workdir)["token"] == "theirs"


@pytest.mark.usefixtures("impatient")
def test_a_lock_is_renewed_while_it_is_held(workdir):
  lock = BucketLock(workdir / ".lock", "is used")
  deadline = time.monotonic() + 10
  while owner_of(workdir)["renewals"] < 2 and time.monotonic() < deadline:
    time.sleep(0.02)
  assert owner_of(workdir)["renewals"] >= 2
  lock.release()
  assert not (workdir / ".lock").exists()


@pytest.mark.usefixtures("impatient")
def test_a_run_whose_lock_is_taken_ends_and_leaves_it(workdir, monkeypatch):
  ended = threading.Event()

  def end(message):
    assert "another run has taken the lock" in message
    ended.set()

  monkeypatch.setattr(bucket_lock, "_end", end)
  lock = BucketLock(workdir / ".lock", "is used")
  write_owner(workdir, ELSEWHERE)
  assert ended.wait(10)
  lock._released.set()
  assert owner_of(workdir)["token"] == "theirs"


def test_a_bucket_that_is_not_there_is_named(bucket_server):
  workdir = path_or_address("gs://no_such_bucket/run", "--workdir")
  with pytest.raises(InputError, match="--workdir=gs://no_such_bucket/run cannot be written: "), locked(workdir):
    pass
