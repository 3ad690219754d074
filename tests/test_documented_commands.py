"""Commands in the documents are commands of this program; those of the first pages run."""

import contextlib
import importlib.util
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

import pytest

from composeret_jax.command.config_files import load_config
from composeret_jax.command.modes import MODES
from tests.documented_commands import BLOCK, commands, DOCUMENTS, ROOT
from tests.fakes import tiny, tiny_datasets
from tests.fakes.served import ask

OTHERS = {"configs", "config", "version", "--help", "MODE", "COMMAND"}
PLACEHOLDER = re.compile(r"[A-Z]{3,}|\.\.\.|\$|<")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_has_flags_and_fields_that_exist(document):
  wrong = []
  for mode, arguments in commands(document):
    if mode in OTHERS:
      continue
    assert mode in MODES, f"{document.name}: composeret {mode}"
    names = [argument.lstrip("-").partition("=")[0] for argument in arguments if argument.startswith("-")]
    flags = {name.partition(".")[0].removeprefix("no") for name in names} - {"flagfile"}
    wrong += [f"{mode} --{flag}" for flag in flags - MODES[mode].flag_names]
    given = [argument.partition("=")[2] for argument in arguments if argument.startswith("--config=")]
    if given and not PLACEHOLDER.search(given[0]):
      config = load_config(given[0])
      fields = [name.removeprefix("config.") for name in names if name.startswith("config.")]
      wrong += [f"{given[0]} {field}" for field in fields if not _has(config, field)]
  assert wrong == []


def _has(config, field: str) -> bool:
  for part in field.split("."):
    if part not in config:
      return False
    config = config[part]
  return True


# What a test adds to a documented training.
SHORT = ("--config.num_train_steps=2", "--config.batch_size=4")
TINY = (
  "--config.data.image_size=32",
  "--config.data.num_workers=0",
  "--config.model.image_encoder.width=4",
  "--config.model.image_encoder.stage_sizes=(1,)",
)


@pytest.fixture
def desk(tmp_path, monkeypatch):
  """A working folder in which the documents' paths exist."""
  (tmp_path / "pictures").mkdir()
  names = [f"{number}.png" for number in range(12)]
  for number, name in enumerate(names):
    tiny_datasets.write_image(tmp_path / "pictures" / name, number)
  tiny_datasets.write_image(tmp_path / "my_drawing.png", 99)
  things = [(colour, thing) for colour in ("red", "blue", "green") for thing in ("shirt", "dress", "hat", "bag")]
  splits = ["test" if thing == "hat" else "train" for _, thing in things]
  lines = [
    f"{name},{colour} {thing},{split}" for name, (colour, thing), split in zip(names, things, splits, strict=True)
  ]
  (tmp_path / "captions.csv").write_text("\n".join(["image,caption,split", *lines]))
  tiny.make_mit_states(tmp_path / "mit_states")
  tiny_datasets.make_cirr(tmp_path / "cirr")
  tiny_datasets.make_circo(tmp_path / "circo")
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  return tmp_path


def run(mode: str, arguments: list[str]) -> None:
  """Runs a command of a document, trainings for few steps; a server until it answers."""
  if mode == "serve":
    with served(arguments):
      return
  arguments = [argument.replace("/path/to/", "") for argument in arguments]
  describes_a_model = mode in ("train", "eval", "submit") and any(it.startswith("--config=") for it in arguments)
  tiny_run = (*(SHORT if mode == "train" else ()), *(TINY if describes_a_model else ()))
  done = subprocess.run(
    program(mode, [*arguments, *tiny_run]), env=environment(), capture_output=True, text=True, timeout=1200
  )
  assert done.returncode == 0, f"composeret {mode} {' '.join(arguments)}\n{done.stderr[-3000:]}"


def environment() -> dict[str, str]:
  return os.environ | {"PYTHONPATH": str(ROOT)}


def program(mode: str, arguments: list[str]) -> list[str]:
  return [sys.executable, "-m", "tests.fakes.composeret", mode, *arguments]


@contextlib.contextmanager
def served(arguments: list[str]):
  """The address of the server that a command starts."""
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
  command = program("serve", [*arguments, f"--port={port}"])
  with subprocess.Popen(command, env=environment(), text=True, stdout=subprocess.PIPE) as server:
    try:
      assert "Page: http://" in next(line for line in server.stdout if line.startswith("Page:"))
      yield f"http://127.0.0.1:{port}"
    finally:
      server.send_signal(signal.SIGTERM)
      with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(30)
      server.kill()


def run_all(document: pathlib.Path, *, skipped: tuple[str, ...] = ()) -> int:
  """Runs the commands of a document in their order; the number of those that ran."""
  found = [command for command in commands(document) if command[0] not in {*OTHERS, *skipped}]
  for mode, arguments in found:
    run(mode, arguments)
  return len(found)


@pytest.mark.slow  # a training, an export, an index and a server
def test_the_readme_runs(desk):
  run("train", ["--config=shapes", "--workdir=runs/shapes"])  # what `make quickstart` leaves
  has_compiler = importlib.util.find_spec("libtpu") is not None
  assert run_all(ROOT / "README.md", skipped=() if has_compiler else ("compile",)) >= 4
  [python] = [block for language, block in BLOCK.findall((ROOT / "README.md").read_text()) if language == "python"]
  script = desk / "readme.py"
  script.write_text(python)
  printed = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=600, check=True)
  assert len(printed.stdout.splitlines()) == 5


@pytest.mark.slow  # a training, an export, an index and a server
def test_getting_started_runs(desk):
  assert run_all(ROOT / "docs" / "getting_started.md") == 6


@pytest.mark.slow  # three trainings
def test_the_tutorial_of_training_runs(desk):
  assert run_all(ROOT / "docs" / "training.md") >= 7


@pytest.mark.slow  # two trainings, two exports, two indexes and two servers
def test_the_loop_from_use_to_a_better_model_runs(desk):
  """People choose results and rate others; what the service wrote is trained on, exported, indexed and served."""
  (desk / "pictures").rename(desk / "photos")
  loop = commands(ROOT / "docs" / "searching.md", "From use to a better model")
  assert [mode for mode, _ in loop] == ["serve", "train", "export", "index", "serve", "eval"]
  pictures = [path.name for path in sorted((desk / "photos").iterdir())]
  pairs = list(itertools.pairwise(pictures))
  lines = [f"{reference},a warm coat,{target}" for reference, target in pairs]
  (desk / "first.csv").write_text("\n".join(["reference,text,target", *lines]))
  over = ["--config=catalogue:rotor", "--config.data.dir=photos", "--config.data.triplets=first.csv"]
  run("train", [*over, "--config.data.test_share=0.3", "--workdir=runs/shop"])
  run("export", ["--workdir=runs/shop", "--bundle=bundles/shop"])
  run("index", ["--bundle=bundles/shop", "--index=indexes/shop", "--images=photos"])
  with served(loop[0][1]) as address:
    for reference, target in pairs:
      query = {"image": reference, "texts": ["a warm"]}
      found = [result["id"] for result in ask(address, "/v1/search", query)[2]["results"]]
      (wrong,) = [id for id in found if id not in (target, reference)][:1]
      for result, rating in ((wrong, -1), (target, "chosen")):
        assert ask(address, "/v1/feedback", {"query": query, "result": result, "rating": rating})[0] == 204
  assert all(len(json.loads(line)["negatives"]) == 1 for line in (desk / "chosen.jsonl").read_text().splitlines())
  for mode, arguments in loop[1:4]:
    run(mode, arguments)
  (desk / "queries.csv").write_text("\n".join(["reference,text,target,split", *(f"{line},test" for line in lines)]))
  run(*loop[5])
  with served(loop[4][1]) as address:
    found = ask(address, "/v1/search", {"image": pictures[0], "texts": ["a warm coat"]})[2]
    assert (len(found["results"]), found["unknown_words"]) == (len(pictures) - 1, [])
