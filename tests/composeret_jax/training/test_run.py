"""Opening a run: what is checked, how often, and before what."""

import pytest

from composeret_jax.export.bundle import export
from composeret_jax.export.submission import submit
from composeret_jax.export.towers import save_towers
from composeret_jax.training import run
from composeret_jax.training.checkpoints import newest_made_with
from composeret_jax.training.config import check
from composeret_jax.training.train import evaluate, train
from data_pipelines.input_error import InputError
from tests.composeret_jax.training.test_checkpoints import save


class OpenedError(Exception):
  """Data is opened."""


@pytest.fixture
def no_data(monkeypatch):
  """Stops a mode where it opens data."""

  def open_nothing(*_):
    raise OpenedError

  monkeypatch.setattr(run, "open_dataset", open_nothing)


MODES = {
  "train": train,
  "eval": evaluate,
  "export": lambda config, workdir: export(config, workdir, workdir.with_name("bundle")),
}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_a_mode_checks_its_configuration_once_and_then_opens_data(mode, no_data, config, tmp_path, monkeypatch):
  save(tmp_path / "run", config, {3: None})
  checked, flatten = [], check.flatten
  monkeypatch.setattr(check, "flatten", lambda config: checked.append(config) or flatten(config))
  with pytest.raises(OpenedError):
    mode(config, tmp_path / "run")
  assert len(checked) == (1 if mode is train else 2)  # what is given, and what it makes of the run's own


def test_another_configuration_does_not_resume_and_is_refused_before_data_is_opened(no_data, config, tmp_path):
  save(tmp_path / "run", config, {3: None})
  config.weight_decay = 0.5
  with pytest.raises(InputError, match=r"checkpoints/3 was made with .*\n.*weight_decay: 5e-05 in the checkpoint"):
    train(config, tmp_path / "run")


@pytest.mark.parametrize("mode", ["eval", "export"])
def test_a_trained_run_is_opened_by_its_own_configuration_of_training(mode, no_data, config, tmp_path):
  save(tmp_path / "run", config, {3: None})
  config.update(weight_decay=0.5, batch_size=7, num_train_steps=1, loss="soft_triplet")
  with pytest.raises(OpenedError):
    MODES[mode](config, tmp_path / "run")
  config.model.radius = 7.0
  with pytest.raises(
    InputError, match=r"run was made with another configuration:\n  config\.model\.radius: 4\.0 in the"
  ):
    MODES[mode](config, tmp_path / "run")


def test_a_changed_byte_in_a_saved_configuration_is_no_other_configuration(config, tmp_path):
  save(tmp_path, config, {3: None, 4: None})
  (file,) = [file for file in (tmp_path / "checkpoints/4/made_with").iterdir() if b'"seed": 0' in file.read_bytes()]
  file.write_bytes(file.read_bytes().replace(b'"seed": 0', b'"seed": 1'))
  saved = newest_made_with(tmp_path)
  assert (saved.where, saved.config.seed) == (str(tmp_path / "checkpoints/3"), config.seed)


@pytest.mark.parametrize("mode", [evaluate, MODES["export"], save_towers, submit])
def test_a_mistyped_workdir_is_named_and_not_made(mode, config, tmp_path, monkeypatch):
  monkeypatch.setattr("composeret_jax.export.towers.trained_names", lambda model: ["image_encoder"])
  monkeypatch.setattr("composeret_jax.export.submission.SUBMISSIONS", {config.data.dataset: ()})
  files = (tmp_path / "files",) if mode in (save_towers, submit) else ()
  with pytest.raises(InputError, match=f"--workdir={tmp_path}/rnu is no folder"):
    mode(config, tmp_path / "rnu", *files)
  assert not list(tmp_path.iterdir())
