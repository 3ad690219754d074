"""The command `composeret`, as a user meets it."""

import os
import pathlib
import subprocess
import sys

import pytest

from composeret_jax.command import config_files, config_list
from composeret_jax.command.modes import MODES

ROOT = pathlib.Path(__file__).parents[3]
COMMAND = [sys.executable, "-c", "from composeret_jax.command.console import command; command()"]


def composeret(*arguments, cwd=ROOT, **environment):
  return subprocess.run(
    [*COMMAND, *arguments], capture_output=True, text=True, cwd=cwd, env=os.environ | environment, timeout=300
  )


def test_the_overview_names_every_command():
  printed = composeret("--help").stdout
  assert all(f"\n  {name} " in printed for name in [*MODES, "configs", "config"])


@pytest.mark.parametrize("name", ["configs", "help"])
def test_a_reader_of_the_first_lines_is_no_error(name):
  with subprocess.Popen(
    [*COMMAND, name], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
  ) as process:
    process.stdout.close()
    assert process.stderr.read() == ""


def test_help_takes_the_name_of_a_command():
  assert composeret("help", "train").stdout == composeret("train", "--help").stdout
  assert composeret("config", "--help").stdout.startswith("composeret config: Prints every field of a configuration")
  assert composeret("configs", "--help").stdout == "composeret configs: Lists the configurations and the models.\n"


@pytest.mark.parametrize(("name", "foreign"), [("train", "bundle"), ("serve", "workdir"), ("search", "config")])
def test_a_commands_help_has_its_own_flags_only(name, foreign):
  lines = composeret(name, "--help").stdout.splitlines()
  assert {line.strip() for line in lines if line.startswith("  --")} == {f"--{flag}" for flag in MODES[name].flag_names}
  assert f"  --{foreign}" not in lines


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["fly"], "composeret has no command 'fly'"),
    (["train", "--config=shapes", "--port=80"], "`composeret train` has no flag --port"),
    (["index", "--mode=train"], "`composeret index` has no flag --mode"),
    (["train", "--config=shapes:rotr"], "no model is called 'rotr'"),
    (["train", "--config=shapes"], "`composeret train` needs --workdir"),
    (["train"], "`composeret train` needs --config and --workdir"),
    (["train", "--config=shape", "--workdir=x"], "'shape' is no configuration and no file, did you mean 'shapes'?"),
    (["train", "--config", "sea.py", "--workdir=x"], "'sea.py' is no configuration and no file, expected a path or"),
    (["config"], "`composeret config` needs --config"),
    (
      ["train", "shapes", "--config=shapes", "--workdir=x"],
      "'shapes' is no flag, and `composeret train` takes nothing else",
    ),
    (
      ["index", "--bundle=b", "--index=i", "--images=gallery", "--config=shapes", "--captions=c.csv"],
      "--captions is for --images=FOLDER, and would not be read",
    ),
    (
      ["index", "--bundle=b", "--index=i", "--delete=a.jpg", "--metadata=m.csv"],
      "--metadata is for --images=FOLDER, and would not be read",
    ),
    (
      ["serve", "--bundle=b", "--index=i", f"--page_logo={'a' * 300}.png"],
      f"{'a' * 200} cannot be used: File name too long. Choose another path",
    ),
    (["runs"], "no workdir is named, expected `composeret runs WORKDIR...`"),
    (["runs", "/nowhere"], "/nowhere is no workdir of a run that has started: it has no config.json"),
  ],
)
def test_a_mistake_is_one_message(arguments, message):
  result = composeret(*arguments)
  assert result.returncode == 1
  assert message in result.stderr
  assert "Traceback" not in result.stderr


def test_configs_lists_configurations_and_models():
  lines = composeret("configs").stdout.splitlines()
  assert any(line.startswith("  mit_states ") for line in lines)
  assert any(line.startswith("  rotor ") for line in lines)


def test_config_prints_every_field_with_its_comment_and_overrides():
  lines = composeret("config", "--config=shapes:tirg", "--config.batch_size=7").stdout.splitlines()
  assert lines[lines.index("config.batch_size = 7") - 1] == "# over all devices"
  assert "config.model.composer = 'tirg'" in lines


def test_comments_above_and_behind_a_field_are_read(tmp_path):
  (tmp_path / "base.py").write_text(
    'def f(config):\n  # Above.\n  config.a = 1\n  config.b = "x # y"  # behind\n  config.c = 2\n'
  )
  assert dict(config_list.field_comments(tmp_path / "base.py")) == {"config.a": "Above.", "config.b": "behind"}


def test_a_packaged_name_becomes_its_path_and_a_path_stays():
  assert config_files.config_path("shapes:rotor") == f"{ROOT}/configs/shapes.py:rotor"
  assert config_files.config_path("mine/shapes.py:rotor") == "mine/shapes.py:rotor"
  assert config_files.with_config_paths(["x", "--config", "shapes"])[2] == f"{ROOT}/configs/shapes.py"


@pytest.mark.slow  # trains
def test_what_a_wheel_holds_trains_outside_the_checkout(tmp_path):
  site, run = tmp_path / "site", tmp_path / "run"
  subprocess.run([sys.executable, "setup.py", "--quiet", "build_py", f"--build-lib={site}"], cwd=ROOT, check=True)
  assert not (site / "configs").exists()
  assert (site / "composeret_jax" / "py.typed").exists()
  installed = {"cwd": tmp_path, "PYTHONPATH": str(site)}
  assert "  rotor " in composeret("configs", **installed).stdout
  steps = ["--config.num_train_steps=4", "--config.model.image_encoder.width=4", "--config.batch_size=8"]
  steps += [f"--config.data.prepared_dir={tmp_path}/prepared", "--config.data.image_size=16"]
  steps += ["--config.eval_every_steps=4", "--config.checkpoint_every_steps=4"]
  result = composeret("train", "--config=shapes:sum", *steps, f"--workdir={run}", **installed)
  assert result.returncode == 0, result.stderr
  assert "Step 4" in result.stdout
