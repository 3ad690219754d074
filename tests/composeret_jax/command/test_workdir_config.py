"""A mode that reads a workdir needs no --config."""

import pathlib

import pytest

from composeret_jax.command import workdir_config
from composeret_jax.command.workdir_config import get_config, with_workdir_config
from data_pipelines.input_error import InputError


@pytest.fixture
def workdir(config, tmp_path):
  config.data.allow_other_content = True
  (tmp_path / "config.json").write_text(config.to_json())
  return tmp_path


@pytest.mark.parametrize("mode", ["eval", "submit", "export", "save_towers"])
def test_the_runs_own_configuration_is_taken_where_none_is_given(workdir, mode):
  arguments = ["launch.py", "--mode", mode, f"--workdir={workdir}", "--config.eval.batch_size=3"]
  _, given, *others = with_workdir_config(arguments)
  assert given == f"--config={pathlib.Path(workdir_config.__file__)}:{workdir}"
  assert others == arguments[1:]


def test_another_mode_and_a_given_configuration_stay(workdir):
  for own in (["--mode=train"], ["--mode=eval", "--config=a.py"], ["--mode=eval", "-config", "a.py"]):
    arguments = ["launch.py", *own, f"--workdir={workdir}"]
    assert with_workdir_config(arguments) == arguments


def test_it_is_as_the_run_was_made_but_for_what_was_allowed_once(workdir, config):
  found = get_config(str(workdir))
  assert not found.data.allow_other_content
  del found.data.allow_other_content, config.data.allow_other_content
  assert found.to_json() == config.to_json()


def test_an_older_configuration_has_the_fields_that_came_later(workdir, config):
  del config.data.allow_other_content
  (workdir / "config.json").write_text(config.to_json())
  assert get_config(str(workdir)).data.allow_other_content is False


def test_a_mistyped_workdir_is_named_and_not_made(tmp_path):
  with pytest.raises(InputError, match=r"rnu/config\.json is not there\. .*rnu is no folder\. Correct --workdir"):
    with_workdir_config(["launch.py", "--mode=eval", f"--workdir={tmp_path / 'rnu'}"])
  assert not (tmp_path / "rnu").exists()
