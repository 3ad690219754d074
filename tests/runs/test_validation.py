"""A run that holds out a validation split chooses its best checkpoint by it, and leaves the test split for the end."""

import json

import pytest

from composeret_jax.training.checkpoints import Checkpoints
from composeret_jax.training.config.check import check_config
from composeret_jax.training.train import evaluate, train
from configs import circo, cirr
from data_pipelines.input_error import InputError


@pytest.mark.slow  # a whole run
def test_the_best_is_of_the_validation_split_and_every_number_names_its_split(config, tmp_path, capsys):
  config.data.validation_share = 0.4
  config.update(num_train_steps=4, eval_every_steps=2, checkpoint_every_steps=2)
  train(config, tmp_path)
  printed = capsys.readouterr().out
  headings = [line.partition(":")[0] for line in printed.splitlines() if line.startswith("Step")]
  assert headings == ["Step 4, validation split", "Step 4, test split"]
  lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
  measured = [line for line in lines if "split" in line]
  assert [(line["step"], line["split"]) for line in measured] == [(2, "validation"), (4, "validation"), (4, "test")]
  validation, test = measured[1:]
  assert "validation/R@1" in validation and "eval/R@1" in test
  assert not any(name.startswith("eval/") for name in validation)
  assert Checkpoints(tmp_path, config, {}).metrics(4)["R@1"] == validation["validation/R@1"]
  assert (tmp_path / "validation_results.png").exists() and (tmp_path / "results.png").exists()
  config.data.validation_share = 0.0  # what is evaluated keeps the words and the split that it was trained with
  evaluate(config, tmp_path)
  assert capsys.readouterr().out == printed


def test_what_has_no_training_data_holds_nothing_out():
  config = circo.get_config()
  config.data.validation_share = 0.1
  with pytest.raises(InputError, match=r"data\.validation_share is 0\.1, expected 0: circo has no training data"):
    check_config(config, 1)


def test_the_metric_is_one_that_the_validation_split_has():
  config = cirr.get_config()
  config.data.validation_share, config.best_metric = 0.1, "subset/R@1"
  with pytest.raises(InputError, match=r"best_metric is 'subset/R@1', expected one of R@1, .* with config.data.valid"):
    check_config(config, 1)
  config.best_metric = "R@5"
  check_config(config, 1)
