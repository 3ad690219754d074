"""Whole runs on tiny data."""

import json
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
from PIL import Image
import pytest

from composeret_jax.evaluation.retrieval import NonFiniteError
from composeret_jax.export.bundle import export
from composeret_jax.serving.bundle import load
from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training import loop
from composeret_jax.training.reports.terminal import progress_bar
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from composeret_jax.training.train import evaluate, train
from configs import models
from data_pipelines.input_error import InputError

ROOT = pathlib.Path(__file__).parents[3]


def lines(workdir):
  return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def losses(workdir):
  return {line["step"]: line["train/total"] for line in lines(workdir) if "train/total" in line}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, raw_mit_states, prepared):
  """A finished run: its workdir and what it printed."""
  import contextlib
  import io

  from tests.fakes import tiny

  workdir, printed = tmp_path_factory.mktemp("finished"), io.StringIO()
  with contextlib.redirect_stdout(printed):
    train(tiny.config(raw_mit_states, prepared), workdir)
  return workdir, printed.getvalue()


def test_a_run_reports_every_step_and_the_evaluation(finished):
  workdir, printed = finished
  assert list(losses(workdir)) == list(range(1, 9))
  (evaluation,) = [line for line in lines(workdir) if "eval/R@1" in line]
  assert evaluation["step"] == 8
  for name in ("eval/R@10", "eval/image_only/R@1", "eval/text_only/R@1", "eval/adjective/R@1", "eval/noun/R@5"):
    assert 0 <= evaluation[name] <= 1
  assert f"{100 * evaluation['eval/R@1']:.1f}" in printed
  with Image.open(workdir / "results.png") as picture:
    assert picture.height > 8 * 96
  assert json.loads((workdir / "config.json").read_text())["data"]["dataset"] == "mit_states"
  assert list((workdir / "tensorboard").glob("events.*"))


def test_a_run_reports_its_speed(finished):
  reports = [line for line in lines(finished[0]) if "train/total" in line]
  for name in ("steps_per_second", "images_per_second", "model_flops_per_second"):
    assert all(line[f"speed/{name}"] > 0 for line in reports)
  assert ["speed/compile_seconds" in line for line in reports] == [True] + 7 * [False]


@pytest.mark.slow
def test_a_trace_of_the_steps_that_are_asked_for(config, tmp_path):
  config.profile_steps, config.num_train_steps = "1:3", 2
  train(config, tmp_path)
  assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_training_lowers_the_loss(finished):
  values = list(losses(finished[0]).values())
  assert np.mean(values[-2:]) < np.mean(values[:2])


def test_evaluation_alone_prints_what_training_printed(finished, config, capsys):
  workdir, printed = finished
  evaluate(config, workdir)
  assert capsys.readouterr().out == printed


def test_evaluation_writes_what_it_prints(finished, config):
  workdir, _ = finished
  evaluate(config, workdir)
  found = json.loads((workdir / "eval.json").read_text())
  (evaluation,) = [line for line in lines(workdir) if "eval/R@1" in line]
  assert (found["step"], found["dataset"], list(found["splits"])) == (8, "mit_states", ["test"])
  test = found["splits"]["test"]
  assert {f"eval/{name}": value for name, value in test["metrics"].items()}.items() <= evaluation.items()
  assert (test["num_queries"], test["num_gallery"], test["texts"]) == (24, 12, "modification")
  assert found["made_with"]["python"]


def test_a_run_reports_learning_rate_radius_and_gradient_norm(finished):
  reports = [line for line in lines(finished[0]) if "train/total" in line]
  assert [line["train/learning_rate"] for line in reports] == [pytest.approx(0.01)] * 8
  radii = [line["train/radius"] for line in reports]
  assert radii[0] == pytest.approx(4, abs=0.1) and len(set(radii)) == len(radii)  # it is trained
  assert all(line["train/gradient_norm"] > 0 for line in reports)


@pytest.mark.parametrize("choice", ["8", "best"])
def test_the_checkpoint_that_is_asked_for_is_evaluated(finished, config, capsys, choice):
  workdir, printed = finished
  evaluate(config, workdir, choice)
  assert capsys.readouterr().out == printed
  evaluate(config, workdir, "4")
  assert capsys.readouterr().out.startswith("Step 4")


def test_the_workdir_is_enough_to_evaluate_and_fields_can_be_set(finished):
  workdir, printed = finished
  eval_batch = ["--config.eval.batch_size=4", "--config.batch_size=7"]  # no batch of training matters
  arguments = [sys.executable, "launch.py", "--mode=eval", f"--workdir={workdir}", *eval_batch]
  result = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, timeout=240)
  assert (result.stdout, result.returncode) == (printed, 0), result.stderr


def test_a_finished_run_is_not_trained_again(finished, config, capsys):
  workdir, printed = finished
  before = (workdir / "metrics.jsonl").read_text()
  train(config, workdir)
  assert f"reached config.num_train_steps={config.num_train_steps}; raise it" in capsys.readouterr().err
  assert (workdir / "metrics.jsonl").read_text() == before


def test_no_steps_evaluate_and_save_the_model_as_it_is_built(config, tmp_path, capsys):
  config.num_train_steps = 0
  config.model = models.get_config("zero_shot")
  for encoder, name in ((config.model.image_encoder, "width"), (config.model.text_encoder, "embedding_dim")):
    encoder.update({name: 4, "feature_dim": 8})
  train(config, tmp_path / "run")
  printed = capsys.readouterr().out
  (evaluation,) = lines(tmp_path / "run")
  assert evaluation["step"] == 0 and evaluation["eval/R@1"] >= 0
  assert (tmp_path / "run/results.png").exists()
  evaluate(config, tmp_path / "run")
  assert capsys.readouterr().out == printed
  train(config, tmp_path / "run")
  assert f"reached config.num_train_steps={config.num_train_steps}; raise it" in capsys.readouterr().err
  export(config, tmp_path / "run", tmp_path / "bundle")
  assert load(tmp_path / "bundle").info["metrics"]["R@1"] == evaluation["eval/R@1"]


@pytest.mark.slow  # two trainings
def test_training_goes_on_from_no_steps(finished, config, tmp_path):
  config.num_train_steps = 0
  train(config, tmp_path)
  config.num_train_steps = 8
  train(config, tmp_path)
  assert losses(tmp_path) == losses(finished[0])


def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(finished, config, tmp_path):
  config.num_train_steps = 4
  train(config, tmp_path)
  config.num_train_steps = 8
  train(config, tmp_path)
  assert losses(tmp_path) == losses(finished[0])
  assert [line["step"] for line in lines(tmp_path) if "train/total" in line] == list(range(1, 9))


@pytest.mark.slow  # two trainings
def test_the_average_is_saved_and_evaluated(config, tmp_path, capsys):
  config.ema_decay = 0.5
  train(config, tmp_path)
  trained = capsys.readouterr().out
  run = open_run(config, tmp_path)
  state = newest_state(run)
  average = evaluated_variables(state)
  moved = jax.tree.map(lambda a, b: bool((a != b).any()), average.params, state.variables.params)
  assert np.mean(jax.tree.leaves(moved)) > 0.9
  expected = run.evaluator(average)
  np.testing.assert_array_equal(run.evaluator(evaluated_variables(state)).ranks, expected.ranks)
  evaluate(config, tmp_path)
  assert capsys.readouterr().out == trained


def test_another_configuration_does_not_resume(finished, config):
  config.weight_decay = 0.5
  with pytest.raises(InputError, match=r"config\.weight_decay: 5e-05 in the checkpoint, 0\.5 now"):
    train(config, finished[0])


def test_evaluating_nothing_says_so(config, tmp_path):
  with pytest.raises(InputError, match="no checkpoint"):
    evaluate(config, tmp_path)


def test_a_diverging_run_stops_and_names_the_last_good_checkpoint(config, tmp_path, monkeypatch):
  config.learning_rate = 1e20
  config.checkpoint_every_steps = 1
  bars = []
  monkeypatch.setattr(loop, "progress_bar", lambda *steps: bars.append(progress_bar(*steps)) or bars[0])
  with pytest.raises(NonFiniteError, match=r"step \d+: not finite \(.*checkpoint"):
    train(config, tmp_path)
  assert bars[0].disable  # closed: the message stands on a line of its own


@pytest.mark.slow  # a training
def test_a_diverging_run_that_skips_stops_after_so_many_steps(config, tmp_path, capsys):
  config.learning_rate = 1e20
  config.checkpoint_every_steps = 1
  config.train.on_nonfinite = "skip"
  config.train.max_skipped_in_a_row = 2
  with pytest.raises(NonFiniteError, match=r"step \d+: not finite .*as the 1 steps before it; .*checkpoint"):
    train(config, tmp_path)
  assert "skipped, 1 until now" in capsys.readouterr().err
  for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
    assert "NaN" not in line and "Infinity" not in line


def test_features_that_are_not_finite_are_not_evaluated(finished, config):
  run = open_run(config, finished[0])
  state = newest_state(run)
  params = jax.tree.map(lambda param: param * np.nan, state.variables.params)
  with pytest.raises(NonFiniteError, match="gallery features are not finite"):
    run.evaluator(state.variables._replace(params=params))


@pytest.mark.slow  # two trainings
def test_a_call_of_steps_that_does_not_meet_the_checkpoint_is_refused(config, tmp_path):
  config.num_train_steps = 4
  train(config, tmp_path)
  config.num_train_steps = config.log_every_steps = config.eval_every_steps = config.checkpoint_every_steps = 9
  config.train.steps_per_call = 3
  with pytest.raises(InputError, match="steps_per_call is 3, expected a divisor of 4"):
    train(config, tmp_path)


@pytest.fixture
def damaged(finished, tmp_path):
  """A run of eight steps whose last checkpoint, of 4 and 8, has a changed byte."""
  shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
  (file,) = sorted((tmp_path / "checkpoints/8/state/ocdbt.process_0/d").iterdir(), key=lambda f: f.stat().st_size)[-1:]
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 1
  file.write_bytes(content)
  return tmp_path


@pytest.mark.slow  # several trainings
def test_a_damaged_checkpoint_is_said_and_the_one_before_goes_on_to_the_bit(finished, config, damaged, capsys):
  train(config, damaged)
  said = capsys.readouterr().err
  assert "checkpoints/8 is damaged: state/ocdbt.process_0/d/" in said
  assert "Going back to the one before it" in said
  assert losses(damaged) == losses(finished[0])
  assert [line["step"] for line in lines(damaged) if "train/total" in line] == list(range(1, 9))
  assert sorted(int(path.name) for path in (damaged / "checkpoints").iterdir()) == [4, 8]
  assert [path.name.split("-")[0] for path in (damaged / "damaged_checkpoints").iterdir()] == ["8"]


def test_a_damaged_checkpoint_stops_a_run_that_is_told_to(config, damaged):
  config.on_bad_checkpoint = "stop"
  with pytest.raises(InputError, match="checkpoints/8 is damaged"):
    train(config, damaged)
  assert (damaged / "checkpoints/8").exists()
