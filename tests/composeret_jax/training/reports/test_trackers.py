"""Trackers: a stand-in for Weights & Biases, and MLflow with a store of files where it is installed."""

import sys
import types

import pytest

from composeret_jax.training.reports import trackers
from composeret_jax.training.reports.reporter import Reporter
from composeret_jax.training.train import train
from data_pipelines.input_error import InputError


class FakeWandb(types.ModuleType):
  """Keeps what it is given. With `fails`, logging does what a host that is down does."""

  def __init__(self, fails=False):
    super().__init__("wandb")
    self.fails, self.runs = fails, []

  def init(self, **options):
    run = types.SimpleNamespace(options=options, logged=[], finished=False)

    def log(values, step):
      if self.fails:
        raise ConnectionError("the host is down")
      run.logged.append((step, values))

    run.log, run.finish = log, lambda: setattr(run, "finished", True)
    self.runs.append(run)
    return run

  def Image(self, file):
    return f"image {file}"


@pytest.fixture
def wandb(monkeypatch, config):
  module = FakeWandb()
  monkeypatch.setitem(sys.modules, "wandb", module)
  config.tracker, config.tracker_project = "wandb", "icons"
  return module


def test_each_start_is_a_run_in_the_workdirs_group(wandb, config, tmp_path):
  for first_step in (0, 4):
    with Reporter(tmp_path / "rotor", config, first_step) as reporter:
      reporter.scalars(first_step + 1, {"eval/R@1": 0.5})
  assert [run.options["name"] for run in wandb.runs] == ["rotor from step 0", "rotor from step 4"]
  assert {(run.options["group"], run.options["project"]) for run in wandb.runs} == {("rotor", "icons")}
  assert wandb.runs[0].options["config"]["model.composer"] == "compose_ae"
  assert wandb.runs[1].logged == [(5, {"eval/R@1": 0.5})]
  assert all(run.finished for run in wandb.runs)


def test_a_run_sends_metrics_and_pictures(wandb, config, tmp_path):
  config.num_train_steps = config.eval_every_steps = 2
  train(config, tmp_path / "run")
  (run,) = wandb.runs
  names = {name for _, values in run.logged for name in values}
  assert {"train/total", "train/learning_rate", "train/radius", "train/gradient_norm", "eval/R@1"} <= names
  assert (2, {"eval/results": f"image {tmp_path}/run/results.png"}) in run.logged


def test_a_host_that_is_down_is_reported_once_and_the_run_goes_on(wandb, config, tmp_path, capsys):
  wandb.fails = True
  with Reporter(tmp_path, config, first_step=0) as reporter:
    reporter.scalars(1, {"train/total": 0.5})
    reporter.scalars(2, {"train/total": 0.25})
  assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
  assert capsys.readouterr().err.count("gets nothing more of this run: the host is down") == 1


def test_a_tracker_that_is_not_installed_stops_a_run_before_its_data(config, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "mlflow", None)
  config.tracker, config.data.dir = "mlflow", str(tmp_path / "nothing")
  with pytest.raises(InputError, match="config.tracker is 'mlflow', which is not installed"):
    train(config, tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_mlflow_keeps_parameters_metrics_and_pictures(config, tmp_path, monkeypatch):
  mlflow = pytest.importorskip("mlflow")
  monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
  monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
  config.tracker = "mlflow"
  picture = tmp_path / "results.png"
  picture.write_bytes(b"a picture")
  for first_step in (0, 4):
    tracking = trackers.open_tracking(config, "rotor", tmp_path, first_step)
    tracking.scalars(first_step + 1, {"eval/R@1": 0.5, "train/total": 2.0})
    tracking.picture(first_step + 1, "eval/results", picture)
    tracking.close()
  client = mlflow.MlflowClient()
  experiment = client.get_experiment_by_name("composeret")
  runs = client.search_runs([experiment.experiment_id], "tags.`group` = 'rotor'", order_by=["attributes.start_time"])
  assert [run.info.run_name for run in runs] == ["rotor from step 0", "rotor from step 4"]
  assert runs[1].data.metrics == {"eval/R_at_1": 0.5, "train/total": 2.0}
  assert client.get_metric_history(runs[1].info.run_id, "eval/R_at_1")[0].step == 5
  assert runs[0].data.params["model.composer"] == "compose_ae" and runs[0].info.status == "FINISHED"
  assert [file.path for file in client.list_artifacts(runs[0].info.run_id, "step_1")] == ["step_1/results.png"]


def test_wandb_writes_to_the_workdir_when_it_is_offline(config, tmp_path, monkeypatch, capsys):
  pytest.importorskip("wandb")
  monkeypatch.setenv("WANDB_MODE", "offline")
  monkeypatch.setenv("WANDB_SILENT", "true")
  config.tracker = "wandb"
  with Reporter(tmp_path / "rotor", config, 0) as reporter:
    reporter.scalars(1, {"eval/R@1": 0.5})
  assert list((tmp_path / "rotor" / "wandb").glob("offline-run-*/run-*.wandb"))
  assert "tracker failed" not in capsys.readouterr().err
