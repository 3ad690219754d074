"""Texts that fit the chosen picture."""

import json

import numpy as np
import pytest

from composeret_jax.serving.service.app import build_app
from composeret_jax.serving.service.settings import Settings
from data_pipelines.input_error import InputError
from tests.fakes.served import ask, encoded_image, served, upload


def write_rows(file, rows):
  lines = (json.dumps({"reference": id, "text": text, "target": "039"}) + "\n" for id, text in rows)
  file.write_text("".join(lines))
  return file


def texts(answer):
  return [suggestion["text"] for suggestion in answer["suggestions"]]


def test_texts_of_the_most_similar_pictures_come_first_each_once(searcher, uploads, tmp_path):
  rows = [(f"{i:03d}", f"text {i // 2}") for i in range(20)] + [("004", "x" * 61), ("nobody", "gone")]
  file = write_rows(tmp_path / "rows.jsonl", rows)
  with served(build_app(searcher, Settings(suggestions=file), uploads=uploads)) as address:
    found = texts(ask(address, "/v1/suggestions?image=004&limit=4")[2])
    sent = upload(address, encoded_image(seed=9))[1]["upload"]
    by_upload = texts(ask(address, f"/v1/suggestions?upload={sent}")[2])
    assert ask(address, "/v1/suggestions")[0] == ask(address, f"/v1/suggestions?image=4&upload={sent}")[0] == 400
    assert ask(address, "/v1/suggestions?image=nobody")[0] == 404
  features = searcher.index.get([f"{i:03d}" for i in range(20)]).features
  order = np.argsort(-(features @ searcher.from_id("004").feature), kind="stable")
  assert found == list(dict.fromkeys(f"text {i // 2}" for i in order))[:4]
  assert (found[0], by_upload[0], len(by_upload)) == ("text 2", "text 4", 6)


def test_without_a_file_there_are_none(address):
  assert texts(ask(address, "/v1/suggestions?image=004")[2]) == []


def test_a_file_that_fits_no_image_is_refused(searcher, uploads, tmp_path):
  with pytest.raises(InputError, match="has no text of at most 60 characters for an image of the index"):
    build_app(searcher, Settings(suggestions=write_rows(tmp_path / "rows.jsonl", [("nobody", "red")])), uploads=uploads)
