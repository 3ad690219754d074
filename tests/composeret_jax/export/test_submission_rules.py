"""Files that a test server would refuse: each rule has one that breaks it."""

import json

import numpy as np
import pytest

from composeret_jax.export.submission import problems, SUBMISSIONS
from data_pipelines.tables import QueryTable

LABELS = [f"test1-{i}-img0" for i in range(60)]
NUMBERS = [str(10 * i) for i in range(60)]
SUBSETS = [LABELS[1:6], LABELS[7:12]]
QUERIES = QueryTable(np.array([0, 6]), ["is red", " "], ["", ""], ["", ""], ["12", "7"], (), SUBSETS)
RECALL, SUBSET = SUBMISSIONS["cirr"]
(CIRCO,) = SUBMISSIONS["circo"]


def good(file):
  """The images after the reference, in their order."""
  rows = {"12": range(1, 51), "7": range(7, 57)}
  names = [int(label) for label in NUMBERS] if file.as_numbers else LABELS
  return {**file.header, **{query: [names[i] for i in own][: file.num_answers] for query, own in rows.items()}}


def found(file, content):
  content = content if isinstance(content, bytes) else json.dumps(content).encode()
  return problems(content, file, QUERIES, NUMBERS if file is CIRCO else LABELS)


@pytest.mark.parametrize("file", [RECALL, SUBSET, CIRCO], ids=lambda file: file.name)
def test_what_the_server_takes_has_no_problem(file):
  assert found(file, good(file)) == []


def changed(file, query="12", *, place=None, answer=None, **fields):
  content = good(file) | fields
  if place is not None:
    content[query] = [*content[query][:place], answer, *content[query][place + 1 :]]
  return content


def without(file, name):
  content = good(file)
  del content[name]
  return content


REFUSED = [
  (RECALL, b"", "not JSON"),
  (RECALL, b"[]", "expected a JSON object"),
  (RECALL, json.dumps(good(RECALL))[:-9].encode(), "not JSON"),
  (RECALL, without(RECALL, "version"), "version is None, expected 'rc2'"),
  (RECALL, changed(RECALL, version="rc1"), "version is 'rc1', expected 'rc2'"),
  (RECALL, changed(RECALL, metric="recall_subset"), "metric is 'recall_subset', expected 'recall'"),
  (SUBSET, changed(SUBSET, metric="recall"), "metric is 'recall', expected 'recall_subset'"),
  (RECALL, without(RECALL, "7"), "1 of 2 queries are missing: 7"),  # whose text is blank
  (RECALL, good(RECALL) | {"99": LABELS[:50]}, "1 ids are of no query: '99'"),
  (RECALL, json.dumps(good(RECALL)).replace("{", '{"7": [], ').encode(), "1 fields are there twice"),
  (RECALL, changed(RECALL) | {"12": "test1"}, "12: expected a list of names, found 'test1'"),
  (RECALL, changed(RECALL) | {"12": LABELS[1:50]}, "12: 49 images, expected 50"),
  (RECALL, changed(RECALL) | {"12": LABELS[1:52]}, "12: 51 images, expected 50"),
  (SUBSET, changed(SUBSET) | {"12": LABELS[1:3]}, "12: 2 images, expected 3"),
  (RECALL, changed(RECALL, place=1, answer=LABELS[1]), "12: an image is there twice"),
  (RECALL, changed(RECALL, place=4, answer=LABELS[0]), "12: the reference 'test1-0-img0' is among its own answers"),
  (SUBSET, changed(SUBSET, place=0, answer=LABELS[0]), "12: the reference 'test1-0-img0' is among its own answers"),
  (RECALL, changed(RECALL, place=0, answer="dev-1-img0"), "12: 'dev-1-img0' is not in its gallery"),
  (SUBSET, changed(SUBSET, place=0, answer=LABELS[8]), "12: 'test1-8-img0' is not in its subset"),
  (RECALL, json.dumps(good(RECALL)).replace("{", '{"7": NaN, ').encode(), "not JSON (NaN is no number)"),
  (RECALL, json.dumps(good(RECALL)).encode() + b" " * 5_000_000, "bytes, expected at most 5,000,000"),
  (CIRCO, changed(CIRCO, place=0, answer="10"), "12: expected a list of numbers"),
  (CIRCO, changed(CIRCO, place=0, answer=11), "12: '11' is not in its gallery"),
  (CIRCO, changed(CIRCO, place=0, answer=0), "12: the reference '0' is among its own answers"),
  (CIRCO, changed(CIRCO) | {"7": []}, "7: 0 images, expected 50"),
  (CIRCO, good(CIRCO) | {"version": "rc2"}, "1 ids are of no query: 'version'"),
]


@pytest.mark.parametrize("file, content, message", REFUSED, ids=range(len(REFUSED)))
def test_each_rule_is_said_by_itself(file, content, message):
  (problem,) = found(file, content)
  assert message in problem


def test_all_problems_are_said():
  content = good(RECALL) | {"metric": "mAP", "12": LABELS[:49]}
  assert found(RECALL, content) == [
    "metric is 'mAP', expected 'recall'",
    "12: 49 images, expected 50",
    "12: the reference 'test1-0-img0' is among its own answers",
  ]


def test_a_whole_submission_of_test1_keeps_below_the_limit():
  """4,148 pairs with 50 names of the longest published kind, as they are written."""
  content = {str(10_000 + i): ["test1-1000-1-img1"] * 50 for i in range(4_148)}
  assert len(json.dumps(content, separators=(",", ":"))) < 5_000_000
