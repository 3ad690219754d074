"""From a chosen result to a row that a catalogue trains on."""

import json

import pytest

from composeret_jax.serving.service.app import build_app
from composeret_jax.serving.service.settings import Settings
from data_pipelines.datasets.catalogue.rows import read_triplets
from data_pipelines.input_error import InputError
from tests.fakes.served import ask, HOSTILE, served


@pytest.fixture
def rate(searcher, uploads, tmp_path):
  with served(build_app(searcher, Settings(feedback=tmp_path / "chosen.jsonl"), uploads=uploads)) as address:
    yield lambda query, result, rating: ask(
      address, "/v1/feedback", {"query": query, "result": result, "rating": rating}
    )


def test_what_people_choose_is_read_as_triplets(rate, tmp_path):
  query = {"image": "004", "texts": ["with stripes", "and „größer“"]}
  assert [rate(query, result, -1)[0] for result in ("001", "002", "001")] == [204] * 3
  assert rate({"image": "004", "texts": ["other"]}, "003", -1)[0] == 204
  assert not (tmp_path / "chosen.jsonl").exists()
  assert rate(query, "010", "chosen")[0] == 204
  assert rate({"image": "005", "texts": ["red"]}, "011", 1)[0] == 204
  read = read_triplets(str(tmp_path / "chosen.jsonl"), negatives=True)
  assert [(example.images, example.text) for example in read.examples] == [
    (("004", "010", "001", "002"), "with stripes and „größer“"),
    (("005", "011"), "red"),
  ]
  assert len(read_triplets(str(tmp_path / "chosen.jsonl")).examples) == 2


@pytest.mark.parametrize(
  ("query", "result", "rating", "message"),
  [
    ({"texts": ["red"]}, "001", 1, "Only a query that starts from a picture of the index"),
    ({"image": "004"}, "001", 1, "Only a query that starts from a picture of the index"),
    ({"upload": "0" * 32, "texts": ["red"]}, "001", 1, "Only a query that starts"),
    ({"image": "nobody", "texts": ["red"]}, "001", 1, "No picture here has the id nobody"),
    ({"image": "004", "texts": ["red"]}, "nobody", 1, "No picture here has the id nobody"),
    ({"image": "004", "texts": ["red"]}, "004", 1, "There is nothing to learn"),
    ({"image": "004", "texts": ["!?"]}, "001", 1, "There is nothing to learn"),
    ({"image": "004", "texts": ["red"]}, "001", 5, "rating"),
  ],
)
def test_what_cannot_be_learned_from_is_refused_and_not_written(rate, tmp_path, query, result, rating, message):
  status, _, answer = rate(query, result, rating)
  assert status in (400, 404) and message in answer["error"]
  assert list(tmp_path.iterdir()) == []


def test_a_hostile_name_is_one_row(rate, tmp_path):
  assert rate({"image": HOSTILE, "texts": ["red\n{}"]}, "001", 1)[0] == 204
  (line,) = (tmp_path / "chosen.jsonl").read_text().splitlines()
  assert json.loads(line)["reference"] == HOSTILE


def test_without_a_file_the_service_says_so(address):
  body = {"query": {"image": "004", "texts": ["red"]}, "result": "001", "rating": 1}
  status, _, answer = ask(address, "/v1/feedback", body)
  assert (status, answer["error"]) == (404, "This service keeps no feedback.")


def test_lines_that_are_no_rows_are_passed_over(rate, tmp_path):
  query = {"image": "004", "texts": ["red"]}
  assert rate(query, "001", -1)[0] == 204
  with (tmp_path / "chosen.wrong.jsonl").open("ab") as file:
    file.write(
      b'[]\n3\n{"reference": "004"}\n{"reference": "004", "text": "red", "negative": 3}\n\xff\n{"reference": "0\n'
    )
  assert rate(query, "002", -1)[0] == 204
  assert rate(query, "010", 1)[0] == 204
  (line,) = (tmp_path / "chosen.jsonl").read_text().splitlines()
  assert json.loads(line)["negatives"] == ["001", "002"]


@pytest.mark.parametrize("file", ["nowhere/chosen.jsonl", ""])
def test_a_file_that_cannot_be_there_is_refused_at_the_start(tmp_path, file):
  with pytest.raises(InputError, match="--feedback=.* is no file in a folder that is there"):
    Settings(feedback=tmp_path / file)
