"""Commands in the documents are commands of this program; those of the first pages run."""

import importlib.util
import itertools
import json
import pathlib
import re

import pytest

from composeret_jax.command.config_files import load_config
from composeret_jax.command.modes import MODES
from tests.documented_commands import commands, DOCUMENTS, python_blocks, ROOT
from tests.fakes import desk
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


@pytest.fixture
def folder(tmp_path):
  """A working folder in which the documents' paths exist."""
  return desk.make(tmp_path)


def run_all(folder: pathlib.Path, document: pathlib.Path, *, skipped: tuple[str, ...] = ()) -> int:
  """Runs the commands of a document in their order; the number of those that ran."""
  found = [command for command in commands(document) if command[0] not in {*OTHERS, *skipped}]
  for mode, arguments in found:
    desk.run(folder, mode, arguments)
  return len(found)


@pytest.mark.slow  # a training, an export, an index and a server
def test_the_readme_runs(folder):
  desk.run(folder, "train", ["--config=shapes", "--workdir=runs/shapes"])  # what `make quickstart` leaves
  has_compiler = importlib.util.find_spec("libtpu") is not None
  assert run_all(folder, ROOT / "README.md", skipped=("push",) if has_compiler else ("push", "compile")) >= 5
  [program] = python_blocks(ROOT / "README.md")
  assert len(desk.run_python(folder, program).splitlines()) == 5


@pytest.mark.slow  # a training, an export, an index and a server
def test_getting_started_runs(folder):
  assert run_all(folder, ROOT / "docs" / "getting_started.md") == 6


@pytest.mark.slow  # three trainings
def test_the_tutorial_of_training_runs(folder):
  assert run_all(folder, ROOT / "docs" / "training.md") >= 7


@pytest.mark.slow  # two trainings, two exports, two indexes and two servers
def test_the_loop_from_use_to_a_better_model_runs(folder):
  """People choose results and rate others; what the service wrote is trained on, exported, indexed and served."""
  (folder / "pictures").rename(folder / "photos")
  loop = commands(ROOT / "docs" / "searching.md", "From use to a better model")
  assert [mode for mode, _ in loop] == ["serve", "train", "export", "index", "serve", "eval"]
  pictures = [path.name for path in sorted((folder / "photos").iterdir())]
  pairs = list(itertools.pairwise(pictures))
  lines = [f"{reference},a warm coat,{target}" for reference, target in pairs]
  (folder / "first.csv").write_text("\n".join(["reference,text,target", *lines]))
  over = ["--config=catalogue:rotor", "--config.data.dir=photos", "--config.data.triplets=first.csv"]
  desk.run(folder, "train", [*over, "--config.data.test_share=0.3", "--workdir=runs/shop"])
  desk.run(folder, "export", ["--workdir=runs/shop", "--bundle=bundles/shop"])
  desk.run(folder, "index", ["--bundle=bundles/shop", "--index=indexes/shop", "--images=photos"])
  with desk.served(folder, loop[0][1]) as address:
    for reference, target in pairs:
      query = {"image": reference, "texts": ["a warm"]}
      found = [result["id"] for result in ask(address, "/v1/search", query)[2]["results"]]
      (wrong,) = [id for id in found if id not in (target, reference)][:1]
      for result, rating in ((wrong, -1), (target, "chosen")):
        assert ask(address, "/v1/feedback", {"query": query, "result": result, "rating": rating})[0] == 204
  assert all(len(json.loads(line)["negatives"]) == 1 for line in (folder / "chosen.jsonl").read_text().splitlines())
  for mode, arguments in loop[1:4]:
    desk.run(folder, mode, arguments)
  (folder / "queries.csv").write_text("\n".join(["reference,text,target,split", *(f"{line},test" for line in lines)]))
  desk.run(folder, *loop[5])
  with desk.served(folder, loop[4][1]) as address:
    found = ask(address, "/v1/search", {"image": pictures[0], "texts": ["a warm coat"]})[2]
    assert (len(found["results"]), found["unknown_words"]) == (len(pictures) - 1, [])
