"""A run on data that has moved, and on data that has changed: content decides, paths are free."""

import dataclasses
import json

import jax.numpy as jnp
import pytest

from composeret_jax.export.bundle import export
from composeret_jax.serving.bundle import load
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from composeret_jax.training.train import evaluate, train
from configs import catalogue
from data_pipelines.input_error import InputError
from tests.data_pipelines.datasets.test_catalogue import write_csv
from tests.fakes import tiny, tiny_datasets

ROWS = tiny_datasets.catalogue_triplets()


def config_at(folder, rows=ROWS):
  """The tiny model on a catalogue in `folder`, which has images and rows of its own."""
  raw = folder / "images"
  if not raw.exists():
    tiny_datasets.make_catalogue(raw)
  config, small = catalogue.get_config(), tiny.config(raw, folder.parent / "prepared")
  config.data.update(small.data.to_dict() | {"dataset": "catalogue"})
  config.data.triplets = write_csv(folder / "rows.csv", rows)
  config.model.image_encoder.update(small.model.image_encoder)
  config.model.text_encoder.update(embedding_dim=8, feature_dim=8)
  config.update(batch_size=2, num_train_steps=2, log_every_steps=1, eval=small.eval)
  return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  folder = tmp_path_factory.mktemp("other_data")
  train(config_at(folder / "first"), folder / "run")
  return folder


@pytest.mark.slow  # two trainings
def test_data_that_has_moved_is_the_same_data(trained, capsys):
  config = config_at(trained / "moved")
  evaluate(config, trained / "run")
  assert "2 queries, 7 images" in capsys.readouterr().out
  config.num_train_steps = 3
  train(config, trained / "run")
  steps = [json.loads(line)["step"] for line in (trained / "run" / "metrics.jsonl").read_text().splitlines()]
  assert sorted(set(steps)) == [1, 2, 3]


def other_images(folder):
  for file in (folder / "images").rglob("*.png"):
    file.write_bytes(file.read_bytes() + b"more")


CHANGES = {
  "rows are cut": (lambda folder: config_at(folder, ROWS[:3]), "queries of test: 2 rows then, 1 now"),
  "images are replaced": (
    lambda folder: (config_at(folder), other_images(folder))[0],
    "images of test: 7 rows then, 7",
  ),
  "a training text": (
    lambda folder: config_at(folder, [{**ROWS[0], "text": "make it green"}, *ROWS[1:]]),
    "queries of train: 2 rows then, 2 now; the first that differs is row 0, now .*make it green",
  ),
}
MODES = {
  "train": lambda config, folder: train(config, folder / "run"),
  "eval": lambda config, folder: evaluate(config, folder / "run"),
  "export": lambda config, folder: export(config, folder / "run", folder / "bundle"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("mode", MODES)
def test_other_data_is_refused_and_what_changed_is_named(trained, change, mode):
  changed, message = CHANGES[change]
  config = changed(trained / change)
  config.num_train_steps = 20
  before = (trained / "run" / "metrics.jsonl").read_bytes()
  with pytest.raises(InputError, match=rf"checkpoints/\d was made with other data:\n(.|\n)*  {message}") as error:
    MODES[mode](config, trained)
  assert "--config.data.allow_other_content=True goes on" in str(error.value)
  assert (trained / "run" / "metrics.jsonl").read_bytes() == before


def test_it_goes_on_over_other_data_where_that_is_asked_for(trained, capsys):
  changed, message = CHANGES["rows are cut"]
  config = changed(trained / "on purpose")
  config.data.allow_other_content = True
  evaluate(config, trained / "run")
  printed = capsys.readouterr()
  assert message in printed.err
  assert "1 queries, 7 images" in printed.out
  config = CHANGES["a training text"][0](trained / "new words")
  config.data.allow_other_content = True
  export(config, trained / "run", trained / "allowed")
  assert load(trained / "allowed").unknown_words("make it green") == ["green"]  # as when it was trained


@pytest.mark.slow  # a run and three prepared catalogues
def test_an_evaluation_over_other_data_needs_no_hard_negatives(tmp_path, capsys):
  config = config_at(tmp_path / "data")
  config.data.placement, config.hard_negatives.every_steps, config.num_train_steps = "device", 2, 0
  train(config, tmp_path / "run")
  alone = config_at(tmp_path / "data")
  alone.data.triplets = ""
  fewer = config_at(tmp_path / "data", ROWS[1:])  # to train on, too: the table that was mined has other rows
  for other, counts in ((fewer, "2 queries, 8 images"), (alone, "0 queries, 10 images")):
    other.data.allow_other_content = True
    evaluate(other, tmp_path / "run")  # its images need not be on the device, either
    assert counts in capsys.readouterr().out


@pytest.mark.slow  # a run and two prepared catalogues
def test_a_run_goes_on_over_other_images_where_hard_negatives_are_mined_again(tmp_path):
  def of_rows(rows):
    config = config_at(tmp_path / "data", rows)
    config.data.update(placement="device", allow_other_content=True)
    config.hard_negatives.every_steps, config.num_train_steps = 2, 0
    return config

  train(of_rows(ROWS), tmp_path / "run")
  run = open_run(of_rows(ROWS[1:]), tmp_path / "run")
  state = newest_state(run)
  assert state.negatives["rows"].shape == (len(run.dataset.train_images), 1) == (2, 1)
  for name, mined in run.miner.nothing_mined().items():
    assert state.negatives[name].tolist() == mined.tolist()

  run = open_run(of_rows(ROWS), tmp_path / "run")
  with run.checkpoints as checkpoints:
    checkpoints.save(1, dataclasses.replace(newest_state(run), step=jnp.asarray(1, jnp.int32)))
  with pytest.raises(InputError, match=r"hard negatives of other training images, and at step 1 none are mined .*=2\)"):
    newest_state(open_run(of_rows(ROWS[1:]), tmp_path / "run"))
