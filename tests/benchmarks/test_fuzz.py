import random
import tarfile

import pytest

from benchmarks.fuzz.__main__ import findings, outcomes, table
from benchmarks.fuzz.hostile_files import CASES
from benchmarks.fuzz.served_page import found_in
from composeret_jax.export.bundle import export
from composeret_jax.serving.bundle import load
from composeret_jax.serving.index.build import fill_index
from composeret_jax.serving.index.sources import folder_images
from composeret_jax.training.train import train
from tests.fakes import tiny
from tests.runs.test_before_the_move import ARCHIVE


@pytest.fixture(scope="module")
def served(tmp_path_factory, raw_mit_states, prepared):
  """A bundle and its index."""
  folder = tmp_path_factory.mktemp("fuzzed")
  config = tiny.config(raw_mit_states, prepared)
  config.num_train_steps = 2
  train(config, folder / "run")
  export(config, folder / "run", folder / "bundle")
  fill_index(load(folder / "bundle"), str(folder / "index"), folder_images(raw_mit_states / "images"))
  return folder


@pytest.mark.slow
def test_some_of_each_finds_nothing(served):
  counts = {"bundle": 8, "index": 60, "tokenizer": 20, "page": 60}
  tried = list(outcomes(served / "bundle", served / "index", 0, lambda part: lambda number: number < counts[part]))
  assert findings(tried) == []
  assert "page, a good search after it | 60 | answered 60" in table(tried)
  assert "refused" in table(tried)


def test_cases_are_functions_of_the_seed(tmp_path):
  with tarfile.open(ARCHIVE) as archive:
    archive.extractall(tmp_path, filter="data")
  for kind, case in CASES.items():
    cases = []
    for name in ("one", "two"):
      folder = tmp_path / kind / name
      what = case(random.Random("7"), tmp_path / "before_move" / kind, folder)
      files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
      cases.append((what, [(file.relative_to(folder), file.read_bytes()) for file in files]))
    assert cases[0] == cases[1]


@pytest.mark.parametrize(
  ("answer", "expected"),
  [
    (b"HTTP/1.1 200 OK\r\n\r\nfine", ""),
    (b"", ""),
    (b"HTTP/1.1 500 No\r\n\r\n/srv/bundle/weights", "FINDING: it says /srv/bundle"),
    (b"HTTP/1.1 500 No\r\n\r\n" + b"x" * 2001, "FINDING: an error of 2,001 bytes"),
    (b"HTTP/1.1 500 No\r\n\r\noops", "FINDING: an unforeseen error, where a mistake has to be 4xx"),
    (b"oops", "FINDING: no answer of HTTP"),
  ],
)
def test_what_an_answer_should_not_say_is_found(answer, expected):
  assert found_in(answer, ["/srv/bundle"]) == expected


def test_findings_are_counted_and_told_once():
  tried = [("a", "refused"), ("a", "FINDING: bad"), ("a", "FINDING: bad"), ("b", "opened")]
  assert "| a | 3 | finding 2, refused 1 |" in table(tried)
  assert findings(tried) == ["a: bad"]
