"""What the program wrote before its modules moved is still read: checkpoint, prepared data, pixels, bundle, index.

The archive was made at commit d25da92 with the configuration of tests/fakes/tiny.py. `expected.json` has what that
commit's programs gave for it.
"""

import json
import os
import pathlib
import tarfile

import numpy as np
import pytest

from composeret_jax import load_bundle, Searcher
from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training.config.same_run import config_from_json
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from composeret_jax.training.train import train

ARCHIVE = pathlib.Path(__file__).parents[1] / "data" / "before_the_move.tar.gz"


@pytest.fixture
def old(tmp_path, monkeypatch):
  """The archive's folder, as the working directory: its paths are relative."""
  with tarfile.open(ARCHIVE) as archive:
    archive.extractall(tmp_path, filter="data")
  monkeypatch.chdir(tmp_path / "before_move")
  return pathlib.Path()


@pytest.fixture
def expected(old):
  return json.loads((old / "expected.json").read_text())


def files(folder):
  return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_bundle_and_its_index(expected):
  bundle = load_bundle("bundle")
  references = ["mit_states/images/dark cat/0.jpg", "mit_states/images/light hat/1.jpg"]
  np.testing.assert_allclose(bundle.compose(references, ["light", "dark"]), expected["composed"], atol=1e-5)
  found = Searcher.open("bundle", "index").search("dark cat/0.jpg", "light", 5)
  assert [result.id for result in found] == expected["found"]


def test_a_checkpoint_on_its_prepared_data(old, expected):
  config = config_from_json(json.loads((old / "run" / "config.json").read_text()))
  before = files(old / "prepared")
  run = open_run(config, old / "run")
  metrics = run.evaluator(evaluated_variables(newest_state(run))).metrics
  assert {name: metrics[name] for name in expected["metrics"]} == pytest.approx(expected["metrics"], abs=1e-9)
  assert files(old / "prepared") == before  # nothing was prepared or decoded again


def test_a_run_goes_on(old):
  config = config_from_json(json.loads((old / "run" / "config.json").read_text()))
  config.num_train_steps = 6
  train(config, old / "run")
  steps = [json.loads(line)["step"] for line in (old / "run" / "metrics.jsonl").read_text().splitlines()]
  assert sorted(set(steps)) == [1, 2, 3, 4, 5, 6]
  assert os.listdir(old / "run" / "checkpoints") == ["6"]
