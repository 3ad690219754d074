"""CIRR and CIRCO from the raw files to what a test server takes."""

import json
import pathlib

import ml_collections
import pytest

from composeret_jax.export import submission
from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training import train
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from configs import circo, cirr
from data_pipelines.input_error import InputError
from tests.fakes import tiny, tiny_datasets


def tiny_config(config: ml_collections.ConfigDict, raw: pathlib.Path, prepared: pathlib.Path):
  """The data set's configuration with everything else of the tiny one."""
  small = tiny.config(raw, prepared)
  config.data.update(small.data.to_dict() | {"dataset": config.data.dataset})
  config.model.update(small.model)
  config.eval.update(small.eval)
  config.update(batch_size=4, log_every_steps=1, checkpoint_every_steps=4)
  return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def cirr_config(folder):
  config = tiny_config(cirr.get_config(), tiny_datasets.make_cirr(folder / "cirr"), folder / "prepared")
  config.num_train_steps = 4
  return config


@pytest.fixture(scope="module")
def circo_config(folder):
  return tiny_config(circo.get_config(), tiny_datasets.make_circo(folder / "circo"), folder / "prepared")


@pytest.fixture(scope="module")
def trained(cirr_config, folder):
  train.train(cirr_config, folder / "run")
  return folder / "run"


def metrics(workdir):
  return json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])


@pytest.mark.slow
def test_cirr_reports_recall_of_all_images_and_of_the_subset_for_each_half(trained):
  found = metrics(trained)
  for half in ("", "image_only/", "text_only/"):
    names = ["R@1", "R@5", "R@10", "R@50", "subset/R@1", "subset/R@2", "subset/R@3"]
    recalls = {name: found[f"eval/{half}{name}"] for name in names}
    assert recalls["R@1"] <= recalls["R@5"] <= recalls["R@10"] <= recalls["R@50"] <= 1
    assert recalls["subset/R@1"] >= recalls["R@1"]  # the best of all images is the best of its subset
    assert found[f"eval/{half}headline"] == (recalls["R@5"] + recalls["subset/R@1"]) / 2


@pytest.mark.slow
def test_cirr_submission_has_every_pair_the_blank_one_too(cirr_config, trained, folder, capsys):
  submission.submit(cirr_config, trained, folder / "files")
  recall, subset = (json.loads((folder / "files" / f"{name}.json").read_text()) for name in ("recall", "recall_subset"))
  pairs = {str(100 + i) for i in range(10)}
  assert recall.keys() == pairs | {"version", "metric"} == subset.keys()
  assert (recall["metric"], subset["metric"], recall["version"]) == ("recall", "recall_subset", "rc2")
  for pair in pairs:
    members = tiny_datasets.cirr_query("test1", int(pair) - 100)["img_set"]["members"]
    assert len(set(recall[pair])) == 50 and members[0] not in recall[pair]
    in_both = [name for name in recall[pair] if name in subset[pair]]
    assert in_both == subset[pair][: len(in_both)]  # both lists have one order
    assert set(subset[pair]) <= set(members[1:])
  assert "1 of the texts are blank" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_on_cirr_is_evaluated_and_submitted_on_circo(circo_config, trained, folder, capsys):
  train.evaluate(circo_config, trained)
  printed = capsys.readouterr().out
  assert "was trained on cirr, and is evaluated on circo" in printed
  assert "Step 4, test split (published as val): 10 queries, 60 images" in printed
  assert "mAP@5" in printed
  submission.submit(circo_config, trained, folder / "files")
  found = json.loads((folder / "files/submission.json").read_text())
  assert found.keys() == {str(i) for i in range(10)}
  assert all(len(set(ids)) == 50 and set(ids) <= set(tiny_datasets.CIRCO_IDS) for ids in found.values())
  assert all(tiny_datasets.CIRCO_IDS[4 * int(query)] not in ids for query, ids in found.items())


@pytest.mark.slow
def test_another_model_than_the_trained_one_is_refused(circo_config, trained):
  other = circo_config.copy_and_resolve_references()
  other.data.image_size = 24
  other.model.image_encoder.width = 8
  with pytest.raises(InputError) as error:
    train.evaluate(other, trained)
  lines = str(error.value).splitlines()[1:-1]
  assert lines == [
    "  config.data.image_size: 16 in the checkpoint, 24 now",
    "  config.model.image_encoder.width: 4 in the checkpoint, 8 now",
  ]


def test_circo_evaluates_and_submits_weights_as_they_come(circo_config, folder):
  train.train(circo_config, folder / "as_they_come")
  found = metrics(folder / "as_they_come")
  assert found["step"] == 0
  assert 0 < found["eval/mAP@5"] <= found["eval/mAP@50"] <= 1
  assert found["eval/R@50"] >= 0.5
  submission.submit(circo_config, folder / "as_they_come", folder / "first")
  with_reference = circo_config.copy_and_resolve_references()
  with_reference.protocol = "circo_with_reference"
  submission.submit(with_reference, folder / "as_they_come", folder / "second")
  first, second = (json.loads((folder / name / "submission.json").read_text()) for name in ("first", "second"))
  assert first == second


def test_circo_has_nothing_to_train_on(circo_config, tmp_path):
  config = circo_config.copy_and_resolve_references()
  config.num_train_steps = 5
  with pytest.raises(InputError, match="config.num_train_steps is 5, expected 0: circo has no training data"):
    train.train(config, tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_a_data_set_without_a_test_server_is_refused(config, tmp_path):
  with pytest.raises(InputError, match="is mit_states, which has no test server, expected circo or cirr"):
    submission.submit(config, tmp_path / "run", tmp_path / "files")


def test_images_of_cirr_that_are_missing_are_counted_and_nothing_is_submitted_without_them(folder, tmp_path):
  val, test = tiny_datasets.cirr_names("val"), tiny_datasets.cirr_names("test1")
  raw = tiny_datasets.make_cirr(tmp_path / "raw", without=(val[7], val[9], test[0]))
  config = tiny_config(cirr.get_config(), raw, tmp_path / "prepared")
  with pytest.raises(InputError, match=r"3 images .* 'dev/dev-1-1-img0.png' in .*raw; "):
    open_run(config, tmp_path / "run")
  config.data.allow_missing_images = True
  run = open_run(config, tmp_path / "run")
  state = newest_state(run)
  found = run.evaluator(evaluated_variables(state)).metrics
  with run.checkpoints as checkpoints:
    checkpoints.save(0, state)
  assert (found["num_missing_images"], found["num_missing_queries"]) == (2, 1)  # both are of one set
  assert len(run.dataset.queries) == 9
  with pytest.raises(InputError, match="prepared without some images of its submission split"):
    submission.submit(config, tmp_path / "run", tmp_path / "files")
