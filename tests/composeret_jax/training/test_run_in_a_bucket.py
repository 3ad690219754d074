"""A run whose workdir is in a bucket: what it saves and reports, and how it goes on after it was killed."""

import json

import pytest

from composeret_jax.command.workdir_config import get_config
from composeret_jax.training.checkpoints import Checkpoints, DamagedCheckpointError
from composeret_jax.training.reports.reporter import Reporter
from composeret_jax.training.train import evaluate, train
from data_pipelines.buckets.addresses import objects
from data_pipelines.paths import path_or_address
from tests.composeret_jax.training.test_checkpoints import save, state


@pytest.fixture
def workdir(bucket):
  return path_or_address(f"{bucket}/run", "--workdir")


def reports(workdir):
  """What was reported of each step, but for the speed."""
  lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  return [{name: value for name, value in line.items() if not name.startswith("speed/")} for line in lines]


def leave_as_killed(workdir):
  """What a run leaves that was killed while it saved step 4: lines of later steps, and files without an end."""
  killed = {"host": "here", "process": 2**22 + 1, "started": "1", "system": "elsewhere"}
  (workdir / ".lock").write_bytes(json.dumps(killed).encode())
  metrics = (workdir / "metrics.jsonl").read_bytes()
  (workdir / "metrics.jsonl").write_bytes(metrics + b'{"step": 3, "train/total": 1.0}\n{"step": 4')
  for name in [name for name in objects(workdir / "checkpoints" / "2") if name != "commit_success.txt"]:
    (workdir / "checkpoints" / "4" / name).write_bytes((workdir / "checkpoints" / "2" / name).read_bytes())


@pytest.mark.slow  # runs in processes of their own
def test_a_killed_run_in_a_bucket_goes_on_and_is_evaluated(config, workdir, monkeypatch, capsys):
  monkeypatch.setattr("composeret_jax.training.workdir.bucket_lock.PATIENCE_SECONDS", 0.1)
  for num_steps in (2, 4):
    config.num_train_steps = num_steps
    train(config, workdir)
    assert capsys.readouterr().out.startswith(f"Step {num_steps}, test split")
    if num_steps == 2:
      leave_as_killed(workdir)
  assert [line["step"] for line in reports(workdir)] == [1, 2, 2, 3, 4, 4]
  assert all(line.get("train/total") != 1.0 for line in reports(workdir))
  kept = {name.partition("/")[0] for name in objects(workdir)}
  assert kept == {"checkpoints", "config.json", "metrics.jsonl", "results.png", "tensorboard"}
  evaluate(get_config(str(workdir)), workdir)
  assert capsys.readouterr().out.startswith("Step 4, test split")


def test_checkpoints_in_a_bucket_are_kept_restored_and_deleted(config, workdir):
  config.num_newest_checkpoints = 1
  save(workdir, config, {1: 0.9, 2: 0.3, 3: None})
  with Checkpoints(workdir, config, {"words": ["old", "cat"]}) as checkpoints:
    assert checkpoints.steps() == [3, 1]
    assert checkpoints.metrics(1) == {"R@1": 0.9}
    assert checkpoints.made_with(1).where == f"{workdir}/checkpoints/1"
    for step in (1, 3):
      checkpoints.check(step)
      assert checkpoints.restore(step, state(0)).variables.params["layer"]["kernel"][0, 0] == step + 0.5
  assert {name.partition("/")[0] for name in objects(workdir / "checkpoints")} == {"1", "3"}


def test_damage_in_a_bucket_is_named_and_set_aside(config, workdir):
  save(workdir, config, {1: None, 2: None})
  folder = workdir / "checkpoints" / "2"
  name = next(name for name in objects(folder) if name.startswith("state/d/"))
  content = (folder / name).read_bytes()
  (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
  with Checkpoints(workdir, config, {}) as checkpoints:
    with pytest.raises(DamagedCheckpointError, match=f"{folder} is damaged: {name} is not the file that was saved"):
      checkpoints.check(2)
    checkpoints.set_aside([2])
    assert checkpoints.steps() == [1]
    assert not objects(folder)
  (aside,) = {name.partition("/")[0] for name in objects(workdir / "damaged_checkpoints")}
  assert aside.startswith("2-")


def test_each_report_is_in_the_bucket_at_once(config, workdir):
  with Reporter(workdir, config, 0) as reporter:
    for step in (1, 2, 3):
      reporter.scalars(step, {"train/total": 1.0 / step})
      assert [line["step"] for line in reports(workdir)] == list(range(1, step + 1))
  with Reporter(workdir, config, 2):
    assert [line["step"] for line in reports(workdir)] == [1, 2]
